"""Changes reserved tokens and tags in questions and tool results, so that only the protocol can write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

_LOOKALIKE = {"<": "‹", "[": "［"}


def quoter(reserved: Iterable[str]) -> Callable[[str], str]:
    """A function that changes every reserved string of a text and leaves the rest as it is.

    The first character is replaced by a look-alike (`<` by `‹`, `[` by `［`), any other one is followed by a space.
    The text stays readable, but is no longer encoded as a reserved token or parsed as a tag. Lone surrogates become
    `?`, because no tokenizer takes them.
    """
    longest_first = sorted({r for r in reserved if len(r) > 1}, key=lambda r: (-len(r), r))
    pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def replace(match: re.Match[str]) -> str:
        found = match.group()
        return _LOOKALIKE.get(found[0], found[0] + " ") + found[1:]

    def quote(text: str) -> str:
        return pattern.sub(replace, text.encode("utf-8", "replace").decode("utf-8"))

    return quote
