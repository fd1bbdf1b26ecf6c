"""Questions as TRL's trainers take them: a `datasets.Dataset`, one row each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from datasets import Dataset

from aepo.types import Sample


def question_dataset(samples: Sequence[Sample]) -> Dataset:
    """A row for each question: `prompt`, as TRL wants it, and the `id` by which a task knows it."""
    return Dataset.from_dict({"prompt": [s.question for s in samples], "id": [s.id for s in samples]})


def check_rows(name: str, rows: Any, samples: Mapping[str, Sample]) -> None:
    """Check that a data set asks questions of a task.

    Raises:
        ValueError: It does not; says where.
    """
    if not isinstance(rows, Dataset) or "id" not in rows.column_names:
        raise ValueError(f"{name} has no column 'id': make it with aepo.engines.trl.question_dataset(samples)")
    for number, one in enumerate(rows["id"]):
        if one not in samples:
            raise ValueError(f"{name}: the task has no question with the id {one!r} of row {number}")


def asked(rows: Iterable[Mapping[str, Any]], samples: Mapping[str, Sample]) -> list[Sample]:
    """The questions of checked rows."""
    return [samples[row["id"]] for row in rows]
