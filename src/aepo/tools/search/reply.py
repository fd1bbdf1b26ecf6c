"""Reading what services answer: whatever comes, it becomes hits or a `BadReply`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from aepo.tools.search.base import Hit
from aepo.tools.service import BadReply

_LONGEST_TEXT = 4000


def member(value: Any, *names: str) -> Any:
    """What is found by going down these names; None where one is missing.

    Raises:
        BadReply: There is something else than an object on the way.
    """
    for name in names:
        if value is None:
            return None
        if not isinstance(value, dict):
            raise BadReply(f"no object around {name!r}")
        value = value.get(name)
    return value


def kept(entries: Any, read: Callable[[Any], Hit]) -> list[Hit]:
    """What `read` makes of each entry of a list; an entry that it cannot read is left out, and costs no other.

    Raises:
        BadReply: It is no list, or it has entries and not one can be read.
    """
    if not isinstance(entries, list):
        raise BadReply("no list where the hits should be")
    found: list[Hit] = []
    failure: BadReply | None = None
    for entry in entries:
        try:
            found.append(read(entry))
        except BadReply as error:
            failure = error
    if failure is not None and not found:
        raise failure
    return found


def hits(entries: Any, title: str, url: str, text: str, score: str = "score") -> list[Hit]:
    """The hits of a list of objects whose members have these names; None is no hits, those without words are left out.

    Raises:
        BadReply: See `kept`.
    """

    def read(entry: Any) -> Hit:
        if not isinstance(entry, dict):
            raise BadReply("no objects where the hits should be")
        return Hit(words(entry.get(title)), words(entry.get(url)), words(entry.get(text)), number(entry.get(score)))

    return [hit for hit in kept([] if entries is None else entries, read) if hit.title or hit.text]


def words(value: Any) -> str:
    """A text on one line, not endless, as UTF-8 can carry it; anything else is empty."""
    if not isinstance(value, str):
        return ""
    return " ".join(value[:_LONGEST_TEXT].encode("utf-8", "replace").decode().split())


def number(value: Any) -> float:
    """A finite number; anything else is 0."""
    try:
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0
    except OverflowError:
        return 0.0
