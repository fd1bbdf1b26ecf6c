"""One live object of an environment's class: made, called in its own thread or on the spot, and closed."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from aepo.environments.contract import EnvironmentLost, has, seed_of
from aepo.environments.own_random import OwnRandom
from aepo.process import user_code
from aepo.process.own_thread import OwnThread
from aepo.tools.base import ToolBug, ToolMisconfigured
from aepo.tools.counts import count
from aepo.types import Sample

if TYPE_CHECKING:
    from aepo.environments.base import Environment

CLOSE_SECONDS = 5.0
"""Seconds that a world has to close; then it is left behind."""


class EnvironmentBug(ToolBug):
    """A method of an environment that is no tool raised an exception."""

    def __init__(self, method: str, sample: str, original: BaseException) -> None:
        """Keep the names for the report."""
        Exception.__init__(self, f"environment {method} raised {user_code.told(original)}, of sample {sample!r}")
        self.tool, self.arguments, self.original = method, {"sample": sample}, original


class LiveWorld:
    """A live object. Sync methods run one after another in a thread that belongs to it alone.

    Attributes:
        made: The object; None before it is made.
        random: Its own stream of random numbers, if the environment asks for one.
    """

    def __init__(self, environment: Environment, sample: Sample) -> None:
        """Make nothing yet."""
        self.environment, self.sample = environment, sample
        self.made: Any = None
        self.random = OwnRandom(seed_of(sample))
        self._closing: asyncio.Task[str | None] | None = None
        self._thread = None if environment.inline else OwnThread(f"world of {sample.id}")
        count("environment/opened")

    async def make(self) -> None:
        """Make the object.

        Raises:
            EnvironmentBug: The factory raised an exception.
        """
        await self._reported("", self._make)

    def _make(self) -> None:
        self.made = self.environment.factory()

    async def own(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Call a method that is no tool.

        Raises:
            EnvironmentLost: The world has died.
            EnvironmentBug: It raised another exception.
        """
        return await self._reported(method, partial(getattr(self.made, method), *arguments, **named))

    async def call(self, method: str, **values: Any) -> Any:
        """Call a method that is a tool.

        Raises:
            Exception: The method raised it.
        """
        return await self._do(partial(getattr(self.made, method), **values))

    async def read(self, name: str) -> Any:
        """An attribute or a property; None without one.

        Raises:
            EnvironmentLost: The world has died.
            EnvironmentBug: The property raised another exception.
        """
        if isinstance(inspect.getattr_static(self.made, name, None), property):
            return await self._reported(name, partial(getattr, self.made, name))
        return getattr(self.made, name, None)

    async def close(self) -> str | None:
        """Let the object go, whatever happens; one that does not close in time is left behind.

        Whoever comes later waits for the same end: the first one may be cancelled meanwhile.

        Returns:
            What went wrong; None if nothing did.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._let_go())
        with anyio.CancelScope(shield=True):
            return await asyncio.shield(self._closing)

    async def _let_go(self) -> str | None:
        wrong = None
        with anyio.move_on_after(CLOSE_SECONDS) as scope:
            try:
                await user_code.call(self._close, self.environment.inline, self._thread)
            except Exception as error:
                wrong = f"raised {user_code.told(user_code.original(error))}"
        if scope.cancelled_caught:
            wrong = f"did not end within {CLOSE_SECONDS:g} s"
        if self._thread is not None:
            self._thread.stop()
        count("environment/closed")
        if wrong is not None:
            line = f"close of environment {self.environment.name} of sample {self.sample.id!r} {wrong}"
            self.environment.incidents.tell("not_closed", line)
        return wrong

    def _close(self) -> Any:
        # In the world's thread this comes after a call that was abandoned, which may have just made the object.
        return self.made.close() if has(type(self.made), "close") else None

    async def _reported(self, method: str, function: Callable[[], Any]) -> Any:
        try:
            return await self._do(function)
        except (EnvironmentLost, ToolMisconfigured):
            raise
        except Exception as error:
            cause, kind = user_code.original(error), self.environment.kind.__name__
            raise EnvironmentBug(f"{kind}.{method}" if method else kind, self.sample.id, cause) from cause

    async def _do(self, function: Callable[[], Any]) -> Any:
        if not self.environment.own_random:
            return await user_code.call(function, self.environment.inline, self._thread)
        with self.random.used():
            return await user_code.call(function, inline=True)
