"""Stops the processes of a sandbox between two cells: threads and children take no time and no memory meanwhile."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aepo.tools.sandbox.supervised import readable

_SECONDS, _PAUSE = 10.0, 0.001
_STILL = "TtZX"


@dataclass(frozen=True)
class Held:
    """A process and a pidfd of it. The number may belong to another process when this one has ended."""

    number: int
    pidfd: int

    def children(self) -> set[int]:
        """The numbers of its children; none if it has ended."""
        found: set[int] = set()
        with suppress(OSError):
            for thread in os.listdir(f"/proc/{self.number}/task"):
                found |= set(map(int, Path(f"/proc/{self.number}/task/{thread}/children").read_text().split()))
        return set() if readable(self.pidfd, 0) else found

    def send(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def still(self) -> bool:
        """Whether all of its threads are stopped, or it has ended."""
        try:
            threads = [f"/proc/{self.number}/task/{name}/stat" for name in os.listdir(f"/proc/{self.number}/task")]
            return all(Path(stat).read_text().rpartition(")")[2].split()[0] in _STILL for stat in threads)
        except (OSError, IndexError):
            return True


class Frozen:
    """Processes that stand still: all descendants of one.

    Args:
        top: The process, which is not stopped itself.
        others: Numbers of descendants that go on, as do their own.

    Raises:
        TimeoutError: One does not stop; all are killed.
    """

    def __init__(self, top: Held, others: frozenset[int] = frozenset()) -> None:
        self._held: dict[int, Held] = {}
        self._others = others
        deadline = time.monotonic() + _SECONDS
        while True:
            # One that is stopped cannot start another; before that it may.
            still = all(held.still() for held in self._held.values())
            if not sum(map(self._stop_children, [top, *self._held.values()])) and still:
                return
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError("a process in the sandbox cannot be stopped")
            time.sleep(_PAUSE)

    def thaw(self) -> None:
        """Let them go on."""
        self._end(signal.SIGCONT)

    def kill(self) -> None:
        """End them."""
        self._end(signal.SIGKILL)

    def forget(self) -> None:
        """Leave them as they are."""
        self._end(None)

    def _end(self, number: int | None) -> None:
        for held in self._held.values():
            if number is not None:
                held.send(number)
            os.close(held.pidfd)
        self._held.clear()

    def _stop_children(self, parent: Held) -> int:
        """Stop the children that are not stopped yet; how many there were."""
        opened: list[Held] = []
        for number in parent.children() - self._held.keys() - self._others:
            with suppress(ProcessLookupError):
                opened.append(Held(number, os.pidfd_open(number)))
        # A number may have passed to a foreign process before it was opened: that one is no child of this parent.
        listed = parent.children()
        for child in opened:
            if child.number in listed:
                self._held[child.number] = child
                child.send(signal.SIGSTOP)
            else:
                os.close(child.pidfd)
        return len(opened)
