r"""Finds the last `\boxed{...}` of a text, the usual place of an answer."""

from __future__ import annotations

import re

_PIECE = re.compile(
    r"""
      \\(?:boxed|fbox)(?![a-zA-Z])\s*(?:(?P<box>\{)|(?P<bare>[^\s{}$][^\n{}$]{0,200})(?=\$))
    | \\(?!\\(?:boxed|fbox)).                   # \{ is no brace
    | (?P<open>\{)
    | (?P<close>\})
    """,
    re.DOTALL | re.VERBOSE,
)


def last_boxed(text: str) -> str | None:
    r"""The content of the last complete `\boxed{...}` or `\fbox{...}` of `text`, stripped; None if there is none.

    Braces inside may be nested. `$\boxed 7$`, as in MATH, is a box too. A box that is never closed is not. The time is
    linear in the length of the text.
    """
    starts: list[int] = []  # start of the content of each open brace; 0 if it is not the brace of a box
    last, found = 0, None
    for piece in _PIECE.finditer(text):
        if piece["bare"]:
            last, found = piece.start(), piece["bare"]
        elif piece["box"] or piece["open"]:
            starts.append(piece.end() if piece["box"] else 0)
        elif piece["close"] and starts and (start := starts.pop()) > last:
            last, found = start, text[start : piece.start()]
    return None if found is None else found.strip()


def unboxed(text: str) -> str:
    r"""The content of the last `\boxed{...}` of `text`; `text` itself if there is none."""
    boxed = last_boxed(text)
    return text if boxed is None else boxed
