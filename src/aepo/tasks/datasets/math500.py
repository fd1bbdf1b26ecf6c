r"""MATH500: 500 problems of MATH's test split, drawn for "Let's Verify Step by Step" (arXiv 2305.20050).

    {"problem": "What is $\\frac12 + \\frac13$?", "solution": "The sum is ...", "answer": "\\frac{5}{6}",
     "subject": "Prealgebra", "level": 1, "unique_id": "test/prealgebra/1.json"}

Hub: `HuggingFaceH4/MATH-500`, split `test` (500 rows); open. Licence: MIT (that of MATH).
Score: mathematical equality.
"""

from __future__ import annotations

from aepo.tasks.reading.base import DataSet, Hub
from aepo.tasks.reading.boxed import answer_of
from aepo.tasks.reading.row import QUESTION, Row
from aepo.types import Sample


def sample(row: Row) -> Sample:
    """One problem."""
    question = row.text(*QUESTION)
    about = {"score": "math", **row.kept("subject", "level")}
    return Sample(question, answer_of(row), row.id("math500", question, "unique_id", "id"), about)


DATA_SET = DataSet(
    name="math500",
    title="MATH500",
    hub=Hub("HuggingFaceH4/MATH-500", "test"),
    licence="MIT",
    rows=500,
    method="math",
    sample=sample,
    tools=("python",),
)
