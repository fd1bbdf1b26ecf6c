"""What is known of a data set: where it is published, how a row becomes a sample, how its answers are scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from aepo.rewards.judge import GRADED, Prompt
from aepo.tasks.reading.row import ANSWER, QUESTION, Row
from aepo.types import Sample

Read = Callable[[Row], tuple[str, str | list[str]]]
"""Question and target of a row; raises `DataError` for a wrong one."""

Method = Literal["math", "words", "judge"]
"""How answers are scored: mathematical equality; exact match and token F1; a judge model."""


def question_and_answers(row: Row) -> tuple[str, list[str]]:
    """The two fields that most have."""
    return row.text(*QUESTION), row.texts(*ANSWER)


@dataclass(frozen=True)
class Hub:
    """Where a data set lies on the Hugging Face Hub.

    Attributes:
        repository: "owner/name".
        split: The one that is evaluated with.
        configs: Configurations, read one after the other; None is the only one there is.
    """

    repository: str
    split: str
    configs: tuple[str | None, ...] = (None,)

    @property
    def page(self) -> str:
        """Address of the card."""
        return f"https://huggingface.co/datasets/{self.repository}"


@dataclass(frozen=True)
class DataSet:
    """A published data set.

    Attributes:
        name: As commands take it.
        title: As tables show it.
        hub: Where it lies.
        licence: Of the questions, and whose they are.
        rows: How many rows the evaluated split has.
        method: How its answers are scored by convention.
        read: Question and target of a row.
        ids: Fields that may hold the publisher's id.
        kept: Fields that a sample keeps as metadata.
        gated: Whether the hub asks for consent first.
        needs: What a row needs that a text model does not have, e.g. "an image"; such rows are left out and counted.
        tools: Names of the tools that it is answered with.
        prompt: What a judge is asked, if one is.
    """

    name: str
    title: str
    hub: Hub
    licence: str
    rows: int
    method: Method
    read: Read = question_and_answers
    ids: tuple[str, ...] = ("id",)
    kept: tuple[str, ...] = ()
    gated: bool = False
    needs: Callable[[Row], str | None] = lambda row: None
    tools: tuple[str, ...] = ("search", "python")
    prompt: Prompt = GRADED

    def sample(self, row: Row) -> Sample:
        """The sample of a row.

        Raises:
            DataError: The row is wrong.
        """
        question, target = self.read(row)
        about = {"score": "math" if self.method == "math" else "f1", **row.kept(*self.kept)}
        return Sample(question, target, row.id(self.name, question, *self.ids), about)
