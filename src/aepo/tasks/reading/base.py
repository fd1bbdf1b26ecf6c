"""What is known of a data set: where it is published, how a row becomes a sample, how its answers are scored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from aepo.rewards.judge import GRADED, Prompt
from aepo.tasks.reading.row import Row
from aepo.types import Sample

Method = Literal["math", "words", "judge"]
"""How answers are scored: mathematical equality; exact match and token F1; a judge model."""


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
        sample: Turns a row into a sample; raises `DataError` for a wrong one.
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
    sample: Callable[[Row], Sample]
    gated: bool = False
    needs: Callable[[Row], str | None] = lambda row: None
    tools: tuple[str, ...] = ("search", "python")
    prompt: Prompt = GRADED
