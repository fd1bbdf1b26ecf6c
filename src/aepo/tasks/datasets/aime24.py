r"""AIME 2024: 30 problems of the American Invitational Mathematics Examination; every answer is an integer 0 to 999.

    {"id": 60, "problem": "Find the number of ordered pairs ...", "solution": "...", "answer": "204", "year": "2024"}

Hub: `HuggingFaceH4/aime_2024`, split `train` (30 rows); open. `math-ai/aime24` has the answer as `\boxed{204}` in
`solution`, `Maxwell-Jia/AIME_2024` writes `ID`, `Problem`, `Answer`: all three are read.
Licence: the problems belong to the Mathematical Association of America; the hub's card names no licence.
Score: mathematical equality.
"""

from __future__ import annotations

from aepo.tasks.reading.base import DataSet, Hub
from aepo.tasks.reading.boxed import problem_and_answer

DATA_SET = DataSet(
    name="aime24",
    title="AIME24",
    hub=Hub("HuggingFaceH4/aime_2024", "train"),
    licence="none named; problems by the MAA",
    rows=30,
    method="math",
    read=problem_and_answer,
    kept=("year",),
    tools=("python",),
)
