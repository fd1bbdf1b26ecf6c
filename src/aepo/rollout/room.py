"""The engine's room: how many paths may grow at once, and who begins next.

A path takes one unit of room when it begins and gives it back when it ends. A path that finds no room waits;
`Precedence` is the order of those that wait.

Nothing waits for ever, however small the room: a path that has begun needs no more room to end. So as long as one path
waits, others grow, and each of them gives its unit to one that waits. A question's decisions depend on what its paths
have written, not on when they began (`spending.py`), so its group is the same with any room.

A deterministic engine promises batches that do not depend on which tool is faster. Between two of its calls several
paths may end, in any order, and who got the room of which would depend on that order. So there a question takes the
room of its whole group before it begins and gives it back when the group is whole. Its paths never wait.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from heapq import heapify, heappop, heappush
from typing import NamedTuple, TypeAlias


class Wave(IntEnum):
    """When a path of a question can begin. Each wave follows paths of the one before."""

    FIRST = 0
    """With the question: the probes, and what begins whatever they find."""
    SECOND = 1
    """Once the probes have ended: the other global samples, and branches."""
    LAST = 2
    """Once all others have ended."""


class Precedence(NamedTuple):
    """The order of those that wait for room: smaller ones first.

    The last waves come last because nothing follows them. The other way round, a question that begins late still has
    all of its waves to go when the others have ended, and the engine is nearly empty in the meantime.

    Attributes:
        asked: Number of the call that asked its question; the training step that waits for it comes first.
        wave: Its wave.
        question: Number of its question.
        path: Its number inside the question.
    """

    asked: int
    wave: Wave
    question: int
    path: int


Begin: TypeAlias = Callable[[], None]
"""Begins a path. It may ask for the room of others."""


class Room:
    """Hands the room of an engine to those that wait for it.

    Attributes:
        free: Units that nobody has.
    """

    def __init__(self, sequences: int, group: int | None = None) -> None:
        """All of it is free.

        Args:
            sequences: Sequences that may grow in the engine at once.
            group: Paths of a group, if a question takes the room of its whole group at once.
        """
        self.free, self._group = sequences, group
        self._waiting: list[tuple[Precedence, Begin]] = []
        self._handing_out = False

    def ask(self, precedence: Precedence, begin: Begin) -> None:
        """Call `begin` as soon as there is room, at once if possible."""
        if self._group is not None and precedence.path > 0:
            begin()
            return
        heappush(self._waiting, (precedence, begin))
        self._hand_out()

    def leave(self, last: bool) -> None:
        """A path has ended.

        Args:
            last: Whether its group is whole.
        """
        self.free += 1 if self._group is None else self._group * last
        self._hand_out()

    def forget(self, question: int) -> None:
        """No more paths of this question begin."""
        self._waiting = [waiting for waiting in self._waiting if waiting[0].question != question]
        heapify(self._waiting)

    def _hand_out(self) -> None:
        # What begins asks for more, which waits like the others.
        if self._handing_out:
            return
        self._handing_out = True
        try:
            while self._waiting and self.free >= (self._group or 1):
                self.free -= self._group or 1
                _, begin = heappop(self._waiting)
                begin()
        finally:
            self._handing_out = False
