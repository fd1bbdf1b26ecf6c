"""Treats SIGTERM, which schedulers send before they kill, as Ctrl-C; both can be delayed during a write."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_BOTH = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt, SystemExit):
    """SIGTERM has come. Handlers of Ctrl-C handle it too; otherwise the exit code is 143."""

    def __init__(self) -> None:
        """Set the exit code to 128 plus the signal's number, as shells do."""
        super().__init__("terminated")
        self.code = 128 + signal.SIGTERM


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM raise `Terminated` in the main thread inside the block, unless there is another handler."""
    if _not_main() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def raise_it(number: int, frame: FrameType | None) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, raise_it)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def signals_wait() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM until the block is done."""
    if _not_main():  # no signal arrives here
        yield
        return
    caught: list[int] = []
    before = {number: signal.getsignal(number) for number in _BOTH}
    # Only handlers of Python can be restored. The default of SIGTERM, which ends the process, stays too.
    held = [number for number, handler in before.items() if callable(handler)]
    for number in held:
        signal.signal(number, lambda number, frame: caught.append(number))
    try:
        yield
    finally:
        for number in held:
            signal.signal(number, before[number])
    for one in dict.fromkeys(caught):
        signal.raise_signal(one)


def ignore_signals() -> None:
    """Ignore both signals from now on, for a process that is ending."""
    for number in _BOTH:
        signal.signal(number, signal.SIG_IGN)


def _not_main() -> bool:
    return threading.current_thread() is not threading.main_thread()
