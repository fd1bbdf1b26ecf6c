"""SimpleQA: short questions about facts, each with one undisputed answer (arXiv 2411.04368).

    {"metadata": "{'topic': 'Geography', 'answer_type': 'Number', 'urls': [...]}",
     "problem": "How many metres high is the tower of ...?", "answer": "161"}

Hub: `basicv8vc/SimpleQA`, split `test` (4,326 rows; the paper asks 500 of them); open, a copy by others of OpenAI's
table. Licence: MIT.
Score: a judge with correct, incorrect and not attempted, as the publisher's, in words of our own.
"""

from __future__ import annotations

from aepo.tasks.reading.base import DataSet, Hub

DATA_SET = DataSet(
    name="simpleqa",
    title="SimpleQA",
    hub=Hub("basicv8vc/SimpleQA", "test"),
    licence="MIT",
    rows=4326,
    method="judge",
)
