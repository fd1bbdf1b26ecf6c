"""Finds the text that a chat template writes around a user's reply, by which a model is told of a broken turn."""

from __future__ import annotations

from dataclasses import dataclass

from aepo.rollout.chat.template import Template, message

_TURN = "aepo sentinel turn"
_REPLY = "aepo sentinel reply"


@dataclass(frozen=True)
class UserReply:
    """The template's text around a user's message between two turns of the assistant.

    Attributes:
        end: The control token that ends the assistant's turn, as text; empty if the template writes none.
        before: The text from there to the message.
        after: The text from the message to the start of the assistant's next turn.
    """

    end: str
    before: str
    after: str

    def encode(self, template: Template, text: str, ended: bool) -> list[int]:
        """The ids between the turns, encoded as in the whole conversation; `ended`: the policy sampled an end."""
        ids = template.encode(self.end + self.before + text + self.after)
        return ids[1:] if ended and self.end else ids


def learn_reply(template: Template) -> UserReply | None:
    """Render two sentinels and cut out the text around the second one; None if the template does not show it."""
    rendered = template.try_render([*template.opening(), message("assistant", _TURN), message("user", _REPLY)]) or ""
    before, shown, after = rendered.rpartition(_TURN)[2].partition(_REPLY)
    if not shown or not before:
        return None
    first = template.encode(before)[0]
    end = template.decode([first])
    if first not in template.control_tokens().values() or not before.startswith(end):
        end = ""
    return UserReply(end, before[len(end) :], after)


def told(error: str) -> str:
    """The words that tell a model how its turn broke the protocol."""
    return f"format error: {error}; write this turn again"
