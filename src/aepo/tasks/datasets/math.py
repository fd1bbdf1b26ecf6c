r"""MATH: competition problems in seven subjects (arXiv 2103.03874); the answer is the last `\boxed` of the solution.

    {"problem": "Solve $2x = 8$.", "level": "Level 1", "type": "Algebra", "solution": "Halving gives $x = \\boxed{4}$."}

Hub: `EleutherAI/hendrycks_math`, seven configurations, split `test` (5,000 rows; `train` has 7,500); open. The authors'
own `hendrycks/competition_math` is no longer served. Licence: MIT.
Score: mathematical equality.
"""

from __future__ import annotations

from aepo.tasks.reading.base import DataSet, Hub
from aepo.tasks.reading.boxed import problem_and_answer

SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)


DATA_SET = DataSet(
    name="math",
    title="MATH",
    hub=Hub("EleutherAI/hendrycks_math", "test", SUBJECTS),
    licence="MIT",
    rows=5000,
    method="math",
    read=problem_and_answer,
    ids=("unique_id", "id"),
    kept=("type", "subject", "level"),
    tools=("python",),
)
