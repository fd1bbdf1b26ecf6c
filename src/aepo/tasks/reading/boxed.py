r"""The answer of a mathematical row: its own field, or the last `\boxed{...}` of the solution."""

from __future__ import annotations

from aepo.tasks.reading.row import ANSWER, Row

_OPEN = r"\boxed"


def answer_of(row: Row) -> str | list[str]:
    """The target of a row with `answer`, or with a `solution` that boxes it.

    Raises:
        DataError: It has neither.
    """
    if row.optional(*ANSWER) is not None or row.optional("solution") is None:
        found = [last_boxed(text) or text for text in row.texts(*ANSWER, "solution")]
        return found[0] if len(found) == 1 else found
    boxed = last_boxed(row.text("solution"))
    if boxed is None:
        raise row.error("no field 'answer', and field 'solution' has no \\boxed{...}")
    return boxed


def last_boxed(text: str) -> str | None:
    r"""What is inside the last `\boxed{...}` (or after `\boxed `, as MATH also writes it); None without a whole one."""
    start = text.rfind(_OPEN)
    if start < 0:
        return None
    rest = text[start + len(_OPEN) :].lstrip()
    if not rest.startswith("{"):
        return rest.split("$")[0].strip() or None
    depth = 0
    for end, letter in enumerate(rest):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if depth == 0:
            return rest[1:end].strip() or None
    return None
