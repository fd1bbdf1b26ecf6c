"""Bamboogle: two-hop questions that a search engine does not answer at once (arXiv 2210.03350).

    {"Question": "Who was king of Prussia in the year that Kant was born?", "Answer": "Frederick William I"}

Hub: `chiayewken/bamboogle`, split `test` (125 rows); open, a copy by others of the authors' table. Licence: MIT.
Score: exact match and token F1, the publisher's.
"""

from __future__ import annotations

from aepo.tasks.reading.base import DataSet, Hub
from aepo.tasks.reading.row import ANSWER, QUESTION, Row
from aepo.types import Sample


def sample(row: Row) -> Sample:
    """One question."""
    question = row.text(*QUESTION)
    return Sample(question, row.texts(*ANSWER), row.id("bamboogle", question, "id"), {"score": "f1"})


DATA_SET = DataSet(
    name="bamboogle",
    title="Bamboogle",
    hub=Hub("chiayewken/bamboogle", "test"),
    licence="MIT",
    rows=125,
    method="words",
    sample=sample,
)
