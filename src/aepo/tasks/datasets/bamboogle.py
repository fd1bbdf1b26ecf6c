"""Bamboogle: two-hop questions that a search engine does not answer at once (arXiv 2210.03350).

    {"Question": "Who was king of Prussia in the year that Kant was born?", "Answer": "Frederick William I"}

Hub: `chiayewken/bamboogle`, split `test` (125 rows); open, a copy by others of the authors' table. Licence: MIT.
Score: exact match and token F1, the publisher's.
"""

from __future__ import annotations

from aepo.tasks.reading.base import DataSet, Hub

DATA_SET = DataSet(
    name="bamboogle",
    title="Bamboogle",
    hub=Hub("chiayewken/bamboogle", "test"),
    licence="MIT",
    rows=125,
    method="words",
)
