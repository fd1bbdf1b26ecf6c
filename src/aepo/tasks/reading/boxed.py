r"""The answer of a mathematical row: its own field, or the last `\boxed{...}` of the solution."""

from __future__ import annotations

from aepo.boxed import last_boxed
from aepo.tasks.reading.row import ANSWER, QUESTION, Row


def problem_and_answer(row: Row) -> tuple[str, str | list[str]]:
    """The question, and the target of a row with `answer`, or with a `solution` that boxes it.

    Raises:
        DataError: It has neither.
    """
    question = row.text(*QUESTION)
    if row.optional(*ANSWER) is not None or row.optional("solution") is None:
        found = [last_boxed(text) or text for text in row.texts(*ANSWER, "solution")]
        return question, found[0] if len(found) == 1 else found
    boxed = last_boxed(row.text("solution"))
    if not boxed:
        raise row.error("no field 'answer', and field 'solution' has no \\boxed{...}")
    return question, boxed
