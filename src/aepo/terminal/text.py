"""Text cut to fit."""

from __future__ import annotations


def one_line(text: str, most: int) -> str:
    """A text on one line of `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 3]}..."
