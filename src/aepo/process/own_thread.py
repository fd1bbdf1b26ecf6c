"""A thread that runs functions one after another, for objects that must stay in one thread."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class OwnThread:
    """A thread of its own. It does not keep the process alive."""

    def __init__(self, name: str) -> None:
        """Start it."""
        self._calls: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        threading.Thread(target=self._serve, name=name, daemon=True).start()

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function after all earlier ones; it runs even if the caller is cancelled."""
        future: Future[T] = Future()
        context = contextvars.copy_context()
        self._calls.put((lambda: context.run(function), future))
        return await asyncio.shield(asyncio.wrap_future(future))

    def stop(self) -> None:
        """End the thread after all functions."""
        self._calls.put(None)

    def _serve(self) -> None:
        while (asked := self._calls.get()) is not None:
            function, future = asked
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)
