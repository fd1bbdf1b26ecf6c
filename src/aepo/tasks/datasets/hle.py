"""Humanity's Last Exam: 2,500 questions by experts of a hundred fields (arXiv 2501.14249); those without an image.

    {"id": "000000000000000000000001", "question": "Which of the following is ...?", "image": "", "answer": "C",
     "answer_type": "multipleChoice", "rationale": "...", "raw_subject": "Algebra", "category": "Math", "canary": "..."}

Hub: `cais/hle`, split `test` (2,500 rows, about 270 MB). **Gated**: log in, accept the conditions at
https://huggingface.co/datasets/cais/hle, then `hf auth login` or HF_TOKEN. Licence: MIT; never to be trained on.
Rows with an `image` are left out and counted. The paper asks a part of the others: to repeat that, give ids.
Score: a judge with a yes or no, as the publisher's, in words of our own.
"""

from __future__ import annotations

from aepo.rewards.judge import YES_NO
from aepo.tasks.reading.base import DataSet, Hub
from aepo.tasks.reading.row import Row


def needs(row: Row) -> str | None:
    """What a row needs besides text: an image."""
    return "an image" if row.optional("image") else None


DATA_SET = DataSet(
    name="hle",
    title="HLE (text only)",
    hub=Hub("cais/hle", "test"),
    licence="MIT",
    rows=2500,
    method="judge",
    kept=("answer_type", "category", "raw_subject"),
    gated=True,
    needs=needs,
    prompt=YES_NO,
)
