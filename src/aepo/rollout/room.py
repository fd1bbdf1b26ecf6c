"""Manages the engine's room: how many paths may grow at once, and which path begins next.

A path takes one unit of room when it begins and gives it back when it ends. A path that finds no room waits;
`Precedence` is the order of those that wait.

No path waits for ever, even with little room, because a path that has begun needs no more room to end. So while one
path waits, others grow, and each of them gives its unit to one that waits. A question's decisions depend on the text of
its paths, not on the time when they began (`spending.py`), so its group is the same with any room.

A deterministic engine promises batches that do not depend on which tool is faster. Between two of its calls several
paths may end, in any order, and the next owner of each unit would depend on that order. So with such an engine a
question takes the room of its whole group before it begins and gives it back when the group is whole. Its paths never
wait.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from heapq import heapify, heappop, heappush
from typing import NamedTuple, TypeAlias


class Wave(IntEnum):
    """The stages in which the paths of a question begin. Each wave follows paths of the one before."""

    FIRST = 0
    """Paths that begin with the question: the probes, and the paths that do not depend on them."""
    SECOND = 1
    """Paths that begin when the probes have ended: the other global samples, and branches."""
    LAST = 2
    """Paths that begin when all others have ended."""


class Precedence(NamedTuple):
    """The order of those that wait for room: smaller ones first.

    The last waves come last, because no others follow them. In the opposite order, a question that begins late would
    still have all of its waves to go when the others have ended, and the engine would be nearly empty meanwhile.

    Attributes:
        asked: The number of the call that asked its question; the training step that waits for it comes first.
        wave: The wave of the path.
        question: The number of its question.
        path: The number of the path inside the question.
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
        free: The number of free units.
    """

    def __init__(self, sequences: int, group: int | None = None) -> None:
        """Set the size; all of the room is free.

        Args:
            sequences: The number of sequences that may grow in the engine at once.
            group: The number of paths of a group, if a question takes the room of its whole group at once.
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
        """Take back the room of a path that has ended.

        Args:
            last: Whether its group is whole.
        """
        self.free += 1 if self._group is None else self._group * last
        self._hand_out()

    def forget(self, question: int) -> None:
        """Begin no more paths of this question."""
        self._waiting = [waiting for waiting in self._waiting if waiting[0].question != question]
        heapify(self._waiting)

    def _hand_out(self) -> None:
        # A path that begins may ask for more room, and this request waits like the others.
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


class QuestionRoom:
    """The room as the paths of one question ask for it, in their order."""

    def __init__(self, room: Room, asked: int, question: int) -> None:
        """No path has asked.

        Args:
            room: The engine's room.
            asked: The number of the call that asked the question.
            question: The number of the question.
        """
        self._room = room
        self._next = Precedence(asked, Wave.FIRST, question, 0)

    def ask(self, wave: Wave, begin: Begin) -> None:
        """Call `begin`, which begins the next path, as soon as there is room, at once if possible."""
        precedence = self._next._replace(wave=wave)
        self._next = self._next._replace(path=self._next.path + 1)
        self._room.ask(precedence, begin)

    def leave(self, last: bool) -> None:
        """Give back the room of a path that has ended; as in `Room.leave`."""
        self._room.leave(last)

    def forget(self) -> None:
        """Begin no more paths."""
        self._room.forget(self._next.question)
