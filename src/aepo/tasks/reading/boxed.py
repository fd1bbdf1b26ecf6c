r"""Reads the answer of a mathematical row: the field `answer`, or the last `\boxed{...}` of the solution."""

from __future__ import annotations

from aepo.boxed import last_boxed
from aepo.tasks.reading.row import ANSWER, QUESTION, Row


def problem_and_answer(row: Row) -> tuple[str, str | list[str]]:
    """The question, and the target from `answer`, or from the box in `solution`.

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
