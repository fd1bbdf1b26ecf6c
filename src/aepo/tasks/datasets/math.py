r"""MATH: competition problems in seven subjects (arXiv 2103.03874); the answer is the last `\boxed` of the solution.

    {"problem": "Solve $2x = 8$.", "level": "Level 1", "type": "Algebra", "solution": "Halving gives $x = \\boxed{4}$."}

Hub: `EleutherAI/hendrycks_math`, seven configurations, split `test` (5,000 rows; `train` has 7,500); open. The authors'
own `hendrycks/competition_math` is no longer served. Licence: MIT.
Score: mathematical equality.
"""

from __future__ import annotations

from aepo.tasks.reading.base import DataSet, Hub
from aepo.tasks.reading.boxed import answer_of
from aepo.tasks.reading.row import QUESTION, Row
from aepo.types import Sample

SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)


def sample(row: Row) -> Sample:
    """One problem."""
    question = row.text(*QUESTION)
    about = {"score": "math", **row.kept("type", "subject", "level")}
    return Sample(question, answer_of(row), row.id("math", question, "unique_id", "id"), about)


DATA_SET = DataSet(
    name="math",
    title="MATH",
    hub=Hub("EleutherAI/hendrycks_math", "test", SUBJECTS),
    licence="MIT",
    rows=5000,
    method="math",
    sample=sample,
    tools=("python",),
)
