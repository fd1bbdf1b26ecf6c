"""One finding of the doctor: a line of text, and the repair if something is missing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "note", "missing"]


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        part: The group of checks that it belongs to, e.g. "sandbox".
        name: The name of the thing that was checked.
        text: The result in words.
        state: "missing" makes the doctor fail, "note" is worth reading, and "ok" needs nothing.
        fix: The way to repair it; "" if nothing is to be done.
    """

    part: str
    name: str
    text: str
    state: State = "ok"
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as data for JSON."""
        return asdict(self)


def size(number: float) -> str:
    """Write a number of bytes for people, e.g. "1.5 GiB"."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= factor:
            value = number / factor
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"
    return f"{number:.0f} bytes"
