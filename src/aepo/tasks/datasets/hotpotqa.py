"""HotpotQA: questions over two Wikipedia articles (arXiv 1809.09600); answers are short texts, or yes and no.

    {"id": "5f00000000000000000000a1", "question": "Do the Elbe and the Oder flow into the same sea?", "answer": "no",
     "type": "comparison", "level": "hard", "supporting_facts": {...}, "context": {...}}

Hub: `hotpotqa/hotpot_qa`, configuration `distractor`, split `validation` (7,405 rows; the paper asks 200); open. The
articles that come with a question are not shown: it is answered by searching. Licence: CC BY-SA 4.0.
Score: exact match, and token F1, the publisher's; a yes or no that meets anything else scores 0.
"""

from __future__ import annotations

from aepo.tasks.reading.base import DataSet, Hub

DATA_SET = DataSet(
    name="hotpotqa",
    title="HotpotQA",
    hub=Hub("hotpotqa/hotpot_qa", "validation", ("distractor",)),
    licence="CC BY-SA 4.0",
    rows=7405,
    method="words",
    ids=("id", "_id"),
    kept=("type", "level"),
)
