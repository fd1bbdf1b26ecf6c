"""What ends a turn of the policy: by the tokenizer, by the template, and by what the model declares."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from aepo.rollout.chat.template import Template, calling, message
from aepo.rollout.generator import Stop

# Written by models of several families at the end of a turn or a document although their templates end turns otherwise.
_OTHER_ENDS = ("<|eom_id|>", "<|endoftext|>", "<|end_of_text|>")
_MARK = "aepo sentinel"


@dataclass(frozen=True)
class Ends:
    """What ends turns, besides a protocol's own tags.

    Attributes:
        template: What decodes.
        tokens: Ids, never plain text.
        strings: In the text of a turn.
        kept: The protocol's tags that stay in a turn where a string has one of them.
    """

    template: Template
    tokens: frozenset[int]
    strings: tuple[str, ...]
    kept: Collection[str]

    def text(self, turn: Sequence[int]) -> str:
        """A turn without the token or the string that ended it; what its last token spells behind is dropped too."""
        text = self.template.decode(turn[:-1] if turn and turn[-1] in self.tokens else turn)
        found = [(text.find(string), string) for string in self.strings if string in text]
        return text[: min(at + self._belonging(string) for at, string in found)] if found else text

    def _belonging(self, string: str) -> int:
        """Characters of a string up to the last tag that belongs to the turn."""
        return max((string.rfind(tag) + len(tag) for tag in self.kept if tag in string), default=0)


def find_ends(template: Template, declared: Stop, kept: Collection[str]) -> Ends:
    """Everything that ends a turn.

    Args:
        template: Asked for the tokens that it writes behind turns.
        declared: By the model. A string that is a control token ends turns as that token. Configurations often hold
            their class's default: a token that the tokenizer has as plain text ends nothing.
        kept: The protocol's tags that end a turn, or stand at the end of one.

    Raises:
        ValueError: Nothing ends a turn, or a string would end it inside a tag of `kept`.
    """
    tokenizer, control = template.tokenizer, template.control_tokens()
    added = tokenizer.get_added_vocab()
    found = {tokenizer.eos_token_id, *_written(template), *(added.get(text) for text in _OTHER_ENDS)}
    found |= declared.tokens & {*added.values(), *tokenizer.all_special_ids}
    found |= {control.get(text) for text in declared.strings}
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
    """The control tokens that a template writes first after an assistant's text, and after its call."""
    # What closes a call before its turn is closed, such as </tool_call>, is markup.
    control = {i for text, i in template.control_tokens().items() if not text.startswith("</")}
    control |= {*template.tokenizer.all_special_ids}
    text, call = message("assistant", _MARK), calling("f", {"value": _MARK})
    result = {**message("tool", "result"), "name": "f", "tool_call_id": "aepo00001"}
    found = set()
    # Some templates close a turn only once something follows.
    for turns in ([text], [call], [text, message("user", "next")], [call, result]):
        rendered = template.try_render([message("user", "question"), *turns], generation_prompt=False)
        _, written, after = (rendered or "").rpartition(_MARK)
        found |= set([i for i in template.encode(after) if i in control][:1]) if written else set()
    return found
