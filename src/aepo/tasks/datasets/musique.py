"""MuSiQue: two to four hops, put together from single questions (arXiv 2108.00573), with aliases.

    {"id": "2hop__1_2", "question": "Which river flows through the capital of Austria?", "answer": "Danube",
     "answer_aliases": ["Donau"], "answerable": true, "question_decomposition": [...], "paragraphs": [...]}

Hub: `dgslibisey/MuSiQue`, split `validation` (2,417 rows, all answerable; the paper asks 200 of them); open, a copy by
others. Licence: CC BY 4.0.
Score: exact match and token F1, the publisher's, over the answer and its aliases.
"""

from __future__ import annotations

from aepo.tasks.reading.base import DataSet, Hub
from aepo.tasks.reading.row import ANSWER, QUESTION, Row


def question_and_aliases(row: Row) -> tuple[str, list[str]]:
    """Question and all accepted answers."""
    question = row.text(*QUESTION)
    accepted = row.texts(*ANSWER)
    if row.optional("answer_aliases"):
        accepted += row.texts("answer_aliases")
    return question, list(dict.fromkeys(accepted))


def unanswerable(row: Row) -> str | None:
    """What a row lacks: an answer. The full version has such contrast questions; the paper does not ask them."""
    return "an answer (it is marked unanswerable)" if row.optional("answerable") is False else None


DATA_SET = DataSet(
    name="musique",
    title="MuSiQue",
    hub=Hub("dgslibisey/MuSiQue", "validation"),
    licence="CC BY 4.0",
    rows=2417,
    method="words",
    read=question_and_aliases,
    needs=unanswerable,
)
