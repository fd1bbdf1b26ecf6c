"""AIME 2025: the 30 problems of both papers (I and II); every answer is an integer 0 to 999.

    {"problem": "Find the sum of all positive integers $n$ ...", "answer": "70", "id": "0"}

Hub: `math-ai/aime25`, split `test` (30 rows); open. `opencompass/AIME2025` writes `question` for `problem`.
Licence: Apache-2.0 by the hub's card; the problems belong to the Mathematical Association of America.
Score: mathematical equality.
"""

from __future__ import annotations

from aepo.tasks.reading.base import DataSet, Hub
from aepo.tasks.reading.boxed import problem_and_answer

DATA_SET = DataSet(
    name="aime25",
    title="AIME25",
    hub=Hub("math-ai/aime25", "test"),
    licence="Apache-2.0; problems by the MAA",
    rows=30,
    method="math",
    read=problem_and_answer,
    tools=("python",),
)
