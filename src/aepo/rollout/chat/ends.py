"""Finds the ends of the policy's turns, from the tokenizer, the template and the model's files."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from aepo.rollout.chat.template import Template, call_id, calling, message
from aepo.rollout.generator import Stop

# Several models end a turn or a document with these, although their templates end turns otherwise.
_OTHER_ENDS = ("<|eom_id|>", "<|endoftext|>", "<|end_of_text|>")
# These close a call, not the turn.
_CALL_ENDS = ("<|tool_call_end|>", "<|python_end|>")
_MARK = "aepo sentinel"


@dataclass(frozen=True)
class Ends:
    """The ends of a turn besides a protocol's own tags.

    Attributes:
        template: Decodes tokens.
        tokens: The ids of control tokens.
        strings: The strings that end a turn by its text.
        kept: The protocol's tags; they stay in the turn if a string contains one.
    """

    template: Template
    tokens: frozenset[int]
    strings: tuple[str, ...]
    kept: Collection[str]

    def text(self, turn: Sequence[int]) -> str:
        """The text of a turn without the token or the string that ended it, and without anything after that string."""
        text = self.template.decode(turn[:-1] if turn and turn[-1] in self.tokens else turn)
        found = [(text.find(string), string) for string in self.strings if string in text]
        return text[: min(at + self._belonging(string) for at, string in found)] if found else text

    def _belonging(self, string: str) -> int:
        """Length of a string up to its last kept tag, in characters."""
        return max((string.rfind(tag) + len(tag) for tag in self.kept if tag in string), default=0)


def find_ends(template: Template, declared: Stop, kept: Collection[str], going_on: Collection[str] = ()) -> Ends:
    """Find all ends of a turn.

    Args:
        template: Gives the tokens that it writes after turns.
        declared: The ends that the model declares. A string that is a control token ends turns as that token. A token
            that is plain text in the tokenizer is ignored, because configurations often hold their class's default.
        kept: The protocol's tags at the end of a turn.
        going_on: Control tokens after which a turn goes on, although the template ends messages with them.

    Raises:
        ValueError: Nothing ends a turn, or a string would end it inside a kept tag.
    """
    tokenizer, control = template.tokenizer, template.control_tokens()
    added = tokenizer.get_added_vocab()
    found = {tokenizer.eos_token_id, *_written(template), *(added.get(text) for text in _OTHER_ENDS)}
    found |= declared.tokens & {*added.values(), *tokenizer.all_special_ids}
    found |= {control.get(text) for text in declared.strings}
    found -= {control.get(text) for text in going_on}
    tokens = frozenset(i for i in found if i is not None)
    strings = tuple(text for text in declared.strings if text not in control)
    if not tokens and not strings:
        raise ValueError("nothing can end a turn: the tokenizer has no eos_token; set one")
    for string in strings:
        for tag in kept:
            if string in tag and string != tag:
                raise ValueError(
                    f"the model ends turns at {string!r}, which {tag} holds: take it out of the stop_strings in its "
                    "generation_config.json, or use another protocol"
                )
    return Ends(template, tokens, strings, kept)


def _written(template: Template) -> set[int]:
    """The first control tokens that a template writes after an assistant's text and after its call."""
    # A tag such as </tool_call> closes a call, not the turn.
    control = {i for text, i in template.control_tokens().items() if not text.startswith("</")}
    control |= {*template.tokenizer.all_special_ids}
    control -= {template.control_tokens().get(text) for text in _CALL_ENDS}
    text, call = message("assistant", _MARK), calling(("f", {"value": _MARK}))
    result = {**message("tool", "result"), "name": "f", "tool_call_id": call_id(1)}
    found = set()
    # Some templates close a turn only if a message follows.
    for turns in ([text], [call], [text, message("user", "next")], [call, result]):
        rendered = template.try_render([message("user", "question"), *turns], generation_prompt=False)
        _, written, after = (rendered or "").rpartition(_MARK)
        found |= set([i for i in template.encode(after) if i in control][:1]) if written else set()
    return found
