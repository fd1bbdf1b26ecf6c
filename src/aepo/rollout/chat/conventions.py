"""The way in which a chat template writes conversations, as `aepo.rollout.chat.learn` finds it out."""

from __future__ import annotations

from dataclasses import dataclass

from aepo.rollout.chat.formats import CallFormat
from aepo.rollout.chat.glue import Glue
from aepo.rollout.chat.template import Template


@dataclass(frozen=True)
class TurnStart:
    """The beginning of the assistant's turns in a template.

    Attributes:
        first: The part of the first turn that the prompt writes, such as "<think>" and a newline; mostly empty.
        later: The part that is written so of turns after a result.
        closed: Whether the prompt closes the thinking, so that turns have none.
    """

    first: str = ""
    later: str = ""
    closed: bool = False

    def of(self, number: int) -> str:
        """The part of turn `number`, from 1, that stands before the policy's tokens."""
        return self.first if number == 1 else self.later


@dataclass(frozen=True)
class Conventions:
    """The way in which a chat template writes conversations.

    Attributes:
        template: The template that is used; if it does not describe the tools, its system text does.
        form: The format of calls.
        start: The beginning of turns.
        glue: The text around results.
        several: Whether a turn may have several calls; False if the template cannot write several results in a row.
        described_by: "template" if the template describes the tools to the model, "system" if the system text does,
            "nobody" without tools, or with an empty system text under a template that ignores them.
        shipped: The name of the template of this package that replaces the model's own; mostly None.
    """

    template: Template
    form: CallFormat
    start: TurnStart
    glue: Glue
    several: bool = False
    described_by: str = "nobody"
    shipped: str | None = None
