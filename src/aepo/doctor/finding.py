"""What the doctor finds: one line each, and what to do where something is missing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "note", "missing"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        part: What it belongs to, e.g. "sandbox".
        name: What was looked at.
        text: What was found.
        state: "missing" fails the examination; "note" is worth reading; "ok" is as it should be.
        fix: What to do; "" for nothing.
    """

    part: str
    name: str
    text: str
    state: State = "ok"
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def size(number: float) -> str:
    """Bytes as people read them, e.g. "1.5 GiB"."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= factor:
            value = number / factor
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"
    return f"{number:.0f} bytes"
