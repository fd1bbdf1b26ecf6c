"""Finds the end of a turn: stop tokens by id, stop strings by the decoded text."""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aepo.rollout.generator import Stop

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

REPLACEMENT = "\ufffd"
# Extra tokens to decode before those that a stop string can span, because tokenizers may decode the start of a text
# in another way.
MARGIN = 4
# Keys of a model's configuration that declare ends: ids, texts of tokens, or strings; one value or a list.
DECLARATIONS = re.compile(
    "(forced_)?eos_token_id|(eot|eom)_token(_id)?|end_of_(turn|utterance)_token|"
    "(additional_)?stop_tokens|stop_token_ids|stop_strings"
)
FILES = ("config.json", "generation_config.json", "tokenizer_config.json")


def declared_ends(*sources: Any) -> Stop:
    """The ends of a turn that a model declares, besides its tokenizer's `eos_token`.

    Args:
        sources: Tokenizers, configurations, and the content of their files.
    """
    found = [end for source in sources for end in _declared(_fields(source))]
    texts = dict.fromkeys(end for end in found if isinstance(end, str) and end)
    return Stop(frozenset(end for end in found if type(end) is int), tuple(texts))


def ends_of(path: str) -> Stop:
    """`declared_ends` of the files in a folder or of a hub name; files may be missing."""
    from transformers.utils import cached_file

    read = []
    for name in FILES:
        with contextlib.suppress(OSError, ValueError):
            if file := cached_file(path, name):
                read.append(json.loads(Path(file).read_text(encoding="utf-8")))
    return declared_ends(*read)


def _fields(source: Any) -> Any:
    if hasattr(source, "init_kwargs"):
        return source.init_kwargs
    return source.to_dict() if hasattr(source, "to_dict") else source


def _declared(fields: Any) -> Iterator[Any]:
    for name, value in fields.items() if isinstance(fields, dict) else ():
        if not DECLARATIONS.fullmatch(str(name)):
            yield from _declared(value)
            continue
        for end in value if isinstance(value, list | tuple) else [value]:
            yield end.get("content") if isinstance(end, dict) else getattr(end, "content", end)


class Stopping:
    """Finds the sampled token that ends a turn.

    A token can complete a stop string only if its text contains the string's last character. Only after such a token
    is the tail of the turn decoded.
    """

    def __init__(self, stop: Stop, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> None:
        """Prepare for one `Stop`.

        Args:
            stop: The stop condition.
            tokenizer: The model's tokenizer.
            texts: The text of each id alone.

        Raises:
            ValueError: A stop string is empty.
        """
        if not all(stop.strings):
            raise ValueError("a stop string is empty: it would end every turn at once")
        self._tokens = stop.tokens
        self._strings = stop.strings
        self._tokenizer = tokenizer
        # A token has at least one byte.
        self._tail = max((len(s.encode()) for s in stop.strings), default=0) + MARGIN
        self.suspects: frozenset[int] = stop.tokens | frozenset(
            i for i, text in enumerate(texts) if any(_may_complete(text, s) for s in stop.strings)
        )

    def met(self, turn: Sequence[int]) -> bool:
        """Whether the last token of a turn ends it; to be called only after a token of `suspects`."""
        if turn[-1] in self._tokens:
            return True
        if not self._strings:
            return False
        tail = list(turn[-self._tail :])
        before, after = self._text(tail[:-1]), self._text(tail)
        # Only the text of the last token is new, because earlier strings were found before.
        pairs = enumerate(zip(before, after, strict=False))
        kept = next((i for i, (a, b) in pairs if a != b), min(len(before), len(after)))
        return any(after.find(s, max(0, kept - len(s) + 1)) >= 0 for s in self._strings)

    def _text(self, tokens: list[int]) -> str:
        return decode(self._tokenizer, tokens) if tokens else ""


def stoppings(tokenizer: PreTrainedTokenizerBase) -> Callable[[Stop], Stopping]:
    """A function that prepares each stop condition once."""
    texts = functools.cache(functools.partial(vocabulary_texts, tokenizer))
    return functools.cache(lambda stop: Stopping(stop, tokenizer, texts() if stop.strings else []))


def decode(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> str:
    """The text of ids, with special tokens and without clean-up."""
    return str(tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def decoder(tokenizer: PreTrainedTokenizerBase) -> Callable[[list[int]], str]:
    """`decode` for another process, where a fast tokenizer is unpickled without the import of transformers."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return functools.partial(decode, tokenizer)
    return functools.partial(backend.decode, skip_special_tokens=False)


def vocabulary_texts(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The text of each id alone."""
    return [decode(tokenizer, [i]) for i in range(len(tokenizer))]


def _may_complete(text: str, string: str) -> bool:
    last = string[-1]
    # Decoded alone, a token may lose its leading space, or have only some bytes of a character.
    return last in text or last == " " or (REPLACEMENT in text and not last.isascii())
