"""2WikiMultiHopQA: questions over several Wikipedia articles and Wikidata (arXiv 2011.01060).

    {"id": "00000000000000000000000000000001", "question": "Where was the author of Faust born?", "answer": "Frankfurt",
     "type": "compositional", "supporting_facts": {...}, "evidences": [...]}

Hub: `framolfese/2WikiMultihopQA`, split `validation` (12,576 rows; the paper asks 200 of them); open. It is a copy in
Parquet: the authors' `xanhho/2WikiMultihopQA` is a script, which the library no longer runs. Licence: Apache-2.0.
Score: exact match and token F1, the publisher's, over all aliases that a row lists.
"""

from __future__ import annotations

from aepo.tasks.reading.base import DataSet, Hub

DATA_SET = DataSet(
    name="2wiki",
    title="2WikiMultiHopQA",
    hub=Hub("framolfese/2WikiMultihopQA", "validation"),
    licence="Apache-2.0",
    rows=12576,
    method="words",
    ids=("id", "_id"),
    kept=("type",),
)
