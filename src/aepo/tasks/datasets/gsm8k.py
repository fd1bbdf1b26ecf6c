r"""GSM8K: grade-school word problems (arXiv 2110.14168); the answer is the number after `####`.

    {"question": "A box holds 6 pens. How many pens are in 3 boxes?", "answer": "They hold 6*3=<<6*3=18>>18.\\n#### 18"}

Hub: `openai/gsm8k`, configuration `main`, split `test` (1,319 rows; `train` has 7,473); open. Licence: MIT.
Score: mathematical equality with the number.
"""

from __future__ import annotations

from aepo.rewards.answer import number
from aepo.tasks.reading.base import DataSet, Hub
from aepo.tasks.reading.row import ANSWER, QUESTION, Row


def problem_and_number(row: Row) -> tuple[str, str]:
    """Question and number; the answer may also be just the number."""
    question = row.text(*QUESTION)
    (solution, *others) = row.texts(*ANSWER)
    target = solution.rpartition("####")[2].strip().replace(",", "")
    if others or number(target) is None:
        raise row.error("field 'answer' does not end with '#### <number>'")
    return question, target


DATA_SET = DataSet(
    name="gsm8k",
    title="GSM8K",
    hub=Hub("openai/gsm8k", "test", ("main",)),
    licence="MIT",
    rows=1319,
    method="math",
    read=problem_and_number,
    tools=("python",),
)
