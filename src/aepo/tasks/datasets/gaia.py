"""GAIA: questions that are easy to say and long to answer (arXiv 2311.12983); those without an attached file.

    {"task_id": "00000000-0000-0000-0000-000000000001", "Question": "How many whole hours does a train at 80 km/h need
     for the distance between ...?", "Level": "1", "Final answer": "7", "file_name": "", "Annotator Metadata": {...}}

Hub: `gaia-benchmark/GAIA`, configuration `2023_all`, split `validation` (165 rows; the answers of `test` are private).
**Gated**: log in, accept at https://huggingface.co/datasets/gaia-benchmark/GAIA not to reshare it, then `hf auth login`
or HF_TOKEN. Licence: none named; its conditions forbid resharing in a form that can be crawled.
Rows with a `file_name` are left out and counted. The paper asks 103 of the others: to repeat that, give their ids.
Score: a judge, as in the paper. The publisher's own board compares strings and numbers instead: see `--score words`.
"""

from __future__ import annotations

from aepo.tasks.reading.base import DataSet, Hub
from aepo.tasks.reading.row import ANSWER, QUESTION, Row


def question_and_answers(row: Row) -> tuple[str, list[str]]:
    """Question and answer; the answer's field is `Final answer`."""
    return row.text(*QUESTION), row.texts("final_answer", *ANSWER)


def needs(row: Row) -> str | None:
    """What a row needs besides text: an attached file."""
    return "a file" if row.optional("file_name") else None


DATA_SET = DataSet(
    name="gaia",
    title="GAIA (text only)",
    hub=Hub("gaia-benchmark/GAIA", "validation", ("2023_all",)),
    licence="none named; not to be reshared",
    rows=165,
    method="judge",
    read=question_and_answers,
    ids=("task_id", "id"),
    kept=("level",),
    tools=("search", "browse", "python"),
    gated=True,
    needs=needs,
)
