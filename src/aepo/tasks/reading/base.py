"""The description of a data set: its place on the hub, the reading of its rows, the scoring of its answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from aepo.rewards.judge import GRADED, Prompt
from aepo.tasks.reading.row import ANSWER, QUESTION, Row
from aepo.types import Sample

Read = Callable[[Row], tuple[str, str | list[str]]]
"""Reads question and target of a row; raises `DataError` for an invalid row."""

Method = Literal["math", "words", "judge"]
"""Scoring of answers: mathematical equality; exact match and token F1; a judge model."""


def question_and_answers(row: Row) -> tuple[str, list[str]]:
    """Question and answers of a row, from the usual fields."""
    return row.text(*QUESTION), row.texts(*ANSWER)


@dataclass(frozen=True)
class Hub:
    """The place of a data set on the Hugging Face Hub.

    Attributes:
        repository: "owner/name".
        split: The evaluation split.
        configs: Configurations, read one after the other; None if there is only one.
    """

    repository: str
    split: str
    configs: tuple[str | None, ...] = (None,)

    @property
    def page(self) -> str:
        """Address of its card."""
        return f"https://huggingface.co/datasets/{self.repository}"


@dataclass(frozen=True)
class DataSet:
    """A published data set.

    Attributes:
        name: Its name in commands.
        title: Its name in tables.
        hub: Its place on the hub.
        licence: Licence and owner of the questions.
        rows: Number of rows of the evaluation split.
        method: The usual scoring of its answers.
        read: Reads question and target of a row.
        ids: Fields that may have the publisher's id.
        kept: Fields that a sample keeps as metadata.
        gated: Whether the hub asks for consent first.
        needs: What a row needs that a text model does not have, e.g. "an image"; such rows are left out and counted.
        tools: Names of its tools.
        prompt: The judge's prompt, if a judge scores it.
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
            DataError: The row is invalid.
        """
        question, target = self.read(row)
        about = {"score": "math" if self.method == "math" else "f1", **row.kept(*self.kept)}
        return Sample(question, target, row.id(self.name, question, *self.ids), about)
