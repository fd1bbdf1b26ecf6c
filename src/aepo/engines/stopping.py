"""When a turn ends: stop tokens by id, stop strings by the decoded text."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aepo.rollout.generator import Stop

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

REPLACEMENT = "\ufffd"
# Tokens decoded besides those a stop string can span: a tokenizer may treat the first ones of a text in its own way.
MARGIN = 4


def declared_ends(*configs: Any) -> frozenset[int]:
    """Tokens that end a turn by what configurations and their parts say: `eos_token_id`, one or a list."""
    found: set[int] = set()
    for config in configs:
        parts = [config, config.get_text_config(decoder=True)] if hasattr(config, "get_text_config") else [config]
        for part in parts:
            named = getattr(part, "eos_token_id", None)
            found |= {i for i in (named if isinstance(named, list | tuple) else [named]) if isinstance(i, int)}
    return frozenset(found)


def ends_of(path: str) -> frozenset[int]:
    """`declared_ends` of a model that is not loaded: a folder or a hub name; none where it holds a tokenizer alone."""
    from transformers import AutoConfig, GenerationConfig

    configs: list[Any] = []
    for kind in (AutoConfig, GenerationConfig):
        with contextlib.suppress(OSError, ValueError, KeyError):
            configs.append(kind.from_pretrained(path))
    return declared_ends(*configs)


class Stopping:
    """Tells which sampled tokens end a turn.

    A token can complete a stop string only if its text holds the string's last character; only after such a token is
    a tail of the turn decoded.
    """

    def __init__(self, stop: Stop, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> None:
        """Prepare for one `Stop`.

        Args:
            stop: The condition.
            tokenizer: What decodes.
            texts: The text of each id alone.

        Raises:
            ValueError: A stop string is empty.
        """
        if not all(stop.strings):
            raise ValueError("a stop string is empty: it would end every turn at once")
        self._tokens = stop.tokens
        self._strings = stop.strings
        self._tokenizer = tokenizer
        # A token spells at least one byte.
        self._tail = max((len(s.encode()) for s in stop.strings), default=0) + MARGIN
        self.suspects: frozenset[int] = stop.tokens | frozenset(
            i for i, text in enumerate(texts) if any(_may_complete(text, s) for s in stop.strings)
        )

    def met(self, turn: Sequence[int]) -> bool:
        """Whether the last token of a turn ends it; to be asked after tokens of `suspects`."""
        if turn[-1] in self._tokens:
            return True
        if not self._strings:
            return False
        tail = list(turn[-self._tail :])
        before, after = self._text(tail[:-1]), self._text(tail)
        # Only what the last token added can be new: a string that lies before it was met before.
        pairs = enumerate(zip(before, after, strict=False))
        kept = next((i for i, (a, b) in pairs if a != b), min(len(before), len(after)))
        return any(after.find(s, max(0, kept - len(s) + 1)) >= 0 for s in self._strings)

    def _text(self, tokens: list[int]) -> str:
        return decode(self._tokenizer, tokens) if tokens else ""


class Stoppings:
    """The `Stopping` of each `Stop`, prepared once; the vocabulary is spelled for the first that has strings."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._prepared: dict[Stop, Stopping] = {}
        self._texts: list[str] = []

    def of(self, stop: Stop) -> Stopping:
        """What tells which tokens end a turn.

        Raises:
            ValueError: A stop string is empty.
        """
        if stop not in self._prepared:
            if stop.strings and not self._texts:
                self._texts = vocabulary_texts(self._tokenizer)
            self._prepared[stop] = Stopping(stop, self._tokenizer, self._texts if stop.strings else [])
        return self._prepared[stop]


def decode(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> str:
    """The text of ids, special tokens included and nothing tidied."""
    return str(tokenizer.decode(list(tokens), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def vocabulary_texts(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The text of each id alone."""
    return [decode(tokenizer, [i]) for i in range(len(tokenizer))]


def _may_complete(text: str, string: str) -> bool:
    last = string[-1]
    # Alone, a token may lose its leading space, or spell only some bytes of a character.
    return last in text or last == " " or (REPLACEMENT in text and not last.isascii())
