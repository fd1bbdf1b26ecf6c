"""SIGTERM, which schedulers send before they kill, is treated as Ctrl-C; both wait while something must be whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_BOTH = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt, SystemExit):
    """The process was asked to end. Whoever handles Ctrl-C handles it; a script that it ends has exit code 143."""

    def __init__(self) -> None:
        """128 and the signal's number, as shells count."""
        super().__init__("terminated")
        self.code = 128 + signal.SIGTERM


@contextmanager
def terminable() -> Iterator[None]:
    """Inside, SIGTERM raises `Terminated` in the main thread; not where somebody else handles it already."""
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
    """Let Ctrl-C and SIGTERM wait until the block is done."""
    if _not_main():  # no signal arrives here
        yield
        return
    caught: list[int] = []
    before = {number: signal.getsignal(number) for number in _BOTH}
    # A handler that was not set by Python cannot be put back, and the default of SIGTERM is to die.
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
    """From now on neither does anything; for a process that is ending."""
    for number in _BOTH:
        signal.signal(number, signal.SIG_IGN)


def _not_main() -> bool:
    return threading.current_thread() is not threading.main_thread()
