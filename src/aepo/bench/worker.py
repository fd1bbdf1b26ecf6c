"""Loads a model and measures parts in its own process, which may fill the memory or be killed without ending others."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from aepo.bench.parts import BenchPart, Described, Measured

if TYPE_CHECKING:
    from aepo.bench.subject import Subject

PRELOADED = ("aepo.bench.workbench",)
"""Modules that every worker needs. Their import takes seconds, so the process that forks workers does it once."""
MEMORY = ("not enough memory", "can't allocate memory", "out of memory")
"""Words in the errors of torch on a CPU, and of libraries under it."""


@dataclass(frozen=True)
class NotLoaded:
    """The model cannot be measured.

    Attributes:
        reason: The reason, in one line.
    """

    reason: str


class Worker:
    """Starts the process, asks it for results, and ends it.

    Args:
        subject: The model that the process loads.
    """

    def __init__(self, subject: Subject) -> None:
        context = get_context("forkserver")
        context.set_forkserver_preload(list(PRELOADED))
        self._asked, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(subject, theirs), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        """The id of the process."""
        assert self._process.pid is not None
        return self._process.pid

    def described(self, seconds: float) -> Described:
        """Wait until the model is loaded, and describe it.

        Raises:
            ValueError: The model cannot be measured.
            RuntimeError: The model was not loaded in time, or the process ended.
        """
        if not self._asked.poll(seconds):
            raise RuntimeError(f"the model was not loaded after {seconds:.0f} s: give more --minutes")
        try:
            answer: Described | NotLoaded = self._asked.recv()
        except EOFError:
            raise RuntimeError(f"while the model was loaded {self._end()}") from None
        if isinstance(answer, NotLoaded):
            raise ValueError(answer.reason)
        return answer

    def measure(self, part: BenchPart, seconds: float, limit: float) -> Measured:
        """Measure a part.

        Args:
            part: The part.
            seconds: The time that it should take at most.
            limit: The seconds after which it is given up; then the worker can only be closed.
        """
        try:
            self._asked.send((part, seconds))
            if not self._asked.poll(limit):
                return Measured(part, "left out", note=f"given up after {limit:.0f} s")
            found: Measured = self._asked.recv()
            return found
        except (EOFError, OSError):
            killed = "killed" in (reason := self._end())
            return Measured(part, "out of memory" if killed else "failed", note=reason)

    def close(self) -> None:
        """End the process in any state."""
        self._process.kill()
        self._process.join()
        self._asked.close()

    def _end(self) -> str:
        self._process.join()
        code = self._process.exitcode
        if code == -signal.SIGKILL:
            return "the process was killed, as systems do when memory is full"
        return f"the process ended with exit code {code}"


def _serve(subject: Subject, asked: Connection) -> None:
    from aepo.bench.workbench import Workbench

    # The process that asks decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        bench = Workbench(subject)
        asked.send(bench.described())
    except (ValueError, OSError) as error:
        asked.send(NotLoaded(" ".join(str(error).split())))
        return
    while True:
        try:
            part, seconds = asked.recv()
        except EOFError:
            return
        try:
            found = bench.measure(part, seconds)
        except Exception as error:
            if os.environ.get("AEPO_TRACEBACK"):
                traceback.print_exc()
            found = failure(part, error)
        asked.send(found)


def failure(part: BenchPart, error: Exception) -> Measured:
    """The report of a part that failed."""
    first = next(_leaves(error))
    text = " ".join(str(first).split())
    full = isinstance(first, MemoryError) or any(words in text.lower() for words in MEMORY)
    full = full or "OutOfMemory" in type(first).__name__
    return Measured(part, "out of memory" if full else "failed", note=text or type(first).__name__)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The single errors inside exception groups."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
