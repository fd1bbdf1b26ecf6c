r"""The last `\boxed{...}` of a text: what a model or a solution gives as its answer."""

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
    r"""What the last whole `\boxed{...}` or `\fbox{...}` of `text` holds, without outer space; None if it has none.

    Braces inside may be nested. `$\boxed 7$`, as MATH writes it, is a box too. A box that is never closed is none. The
    time grows with the length of the text, whatever it holds.
    """
    starts: list[int] = []  # of what is in each open brace; 0 if it is not the brace of a box
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
    r"""What the last `\boxed{...}` of `text` holds; `text` itself if it has none."""
    boxed = last_boxed(text)
    return text if boxed is None else boxed
