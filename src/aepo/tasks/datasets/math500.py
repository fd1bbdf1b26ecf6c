r"""MATH500: 500 problems of MATH's test split, drawn for "Let's Verify Step by Step" (arXiv 2305.20050).

    {"problem": "What is $\\frac12 + \\frac13$?", "solution": "The sum is ...", "answer": "\\frac{5}{6}",
     "subject": "Prealgebra", "level": 1, "unique_id": "test/prealgebra/1.json"}

Hub: `HuggingFaceH4/MATH-500`, split `test` (500 rows); open. Licence: MIT (that of MATH).
Score: mathematical equality.
"""

from __future__ import annotations

from aepo.tasks.reading.base import DataSet, Hub
from aepo.tasks.reading.boxed import problem_and_answer

DATA_SET = DataSet(
    name="math500",
    title="MATH500",
    hub=Hub("HuggingFaceH4/MATH-500", "test"),
    licence="MIT",
    rows=500,
    method="math",
    read=problem_and_answer,
    ids=("unique_id", "id"),
    kept=("subject", "level"),
    tools=("python",),
)
