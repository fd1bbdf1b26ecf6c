"""Checks that a value survives JSON unchanged, for the questions of a run and for data files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

MOST_DEEP = 50
"""Largest depth of nested lists and objects."""
_LONGEST_NUMBER = 1 << 12


def problem(value: Any, name: str = "it") -> str | None:
    """Why JSON cannot hold a value, beginning with the place inside it; None if it can.

    Args:
        value: A value of any type.
        name: Name of the value in the message.
    """
    return next(_problems(value, name, 0), None)


def broken_text(text: str) -> bool:
    """Whether a text has a lone surrogate, which neither files nor tokenizers accept."""
    return any("\ud800" <= letter <= "\udfff" for letter in text) if not text.isascii() else False


def finite(value: Any) -> Any:
    """The same with null for NaN and infinities, which JSON has no number for, and plain numbers for those of numpy."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(name): finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    number = float(value)
    return number if isfinite(number) else None


def _problems(value: Any, name: str, depth: int) -> Iterator[str]:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        if broken_text(value):
            yield f"{name} holds half of a surrogate pair (a broken emoji)"
    elif isinstance(value, int):
        if value.bit_length() > _LONGEST_NUMBER:
            yield f"{name} is a number of more than {_LONGEST_NUMBER} bits: write it as text"
    elif isinstance(value, float):
        if not isfinite(value):
            yield f"{name} is {float(value)}, which JSON has no number for"
    elif not isinstance(value, list | dict):
        hint = "write a list" if isinstance(value, tuple | set | frozenset) else "write it as text or as a plain number"
        yield f"{name} is a {type(value).__name__}, which JSON cannot hold: {hint}"
    elif depth == MOST_DEEP:
        yield f"{name} is deeper than {MOST_DEEP} lists or objects"
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _problems(inner, f"{name}[{number}]", depth + 1)
    else:
        for key, inner in value.items():
            if not isinstance(key, str) or broken_text(key):
                yield f"{name} has the key {key!r}, which is no text that JSON can hold"
            yield from _problems(inner, f"{name}[{key!r}]", depth + 1)
