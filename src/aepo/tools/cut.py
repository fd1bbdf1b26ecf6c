"""Texts that are too long for the model: the beginning stays, and a line says how much is missing."""

from __future__ import annotations

import re

_NOTE = re.compile(r"\n?\[cut: (\d+) more characters\]\Z")
_LONGEST_NOTE = 60


def cut(text: str, limit: int) -> str:
    r"""The first `limit` characters and a line with the number of those left out; a shorter text stays whole.

    What an earlier cut has left out counts too, so that a text never has two such lines.

    Examples:
        >>> cut("a long answer", 6)
        'a long\n[cut: 7 more characters]'
        >>> cut(cut("a long answer", 6), 1)
        'a\n[cut: 12 more characters]'
    """
    if len(text) <= limit:
        return text
    earlier = _NOTE.search(text, max(0, len(text) - _LONGEST_NOTE))
    whole = text[: earlier.start()] if earlier else text
    kept = whole[:limit]
    more = len(whole) - len(kept) + (int(earlier.group(1)) if earlier else 0)
    note = f"[cut: {more} more characters]"
    return f"{kept}\n{note}" if kept else note
