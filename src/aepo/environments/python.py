"""A Python session as a world: each call runs one cell, and the names that it leaves are there for the next one.

A branch runs the same cells again in a sandbox of its own, which is taken from a few that are started already. With
`fork="process"` it is a fork of the interpreter instead: no cell runs twice, but a path and its branches then share a
sandbox, that is, its limits and all files but those in the folder of the session.
"""

from __future__ import annotations

import asyncio
import re
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from aepo.environments.contract import EnvironmentLost
from aepo.tools.base import ToolLost
from aepo.tools.python import text_of
from aepo.tools.sandbox.base import SandboxLimits, SandboxResult, SandboxStatus
from aepo.tools.sandbox.bubblewrap import BubblewrapSandbox
from aepo.tools.sandbox.choose import choose
from aepo.tools.sandbox.interpreter import Interpreter, SandboxLost
from aepo.tools.sandbox.ready import Ready
from aepo.tools.sandbox.supervised import waited

_ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")
_FORK_PROCESSES = 512
_made: dict[tuple[str | None, int, bool], Ready] = {}
_making = threading.Lock()


class PythonSession:
    """An interpreter in a sandbox; `python` is its tool.

    A sample's metadata may name `setup`, a cell that runs first and that the model does not see. A subclass can add
    `get_reward`, and run cells in it by `await self._run(code)`.
    """

    def __init__(
        self, timeout: float = 5.0, max_characters: int = 4000, packages: str | Path | None = None, ready: int = 2
    ) -> None:
        """Set what all sessions have in common.

        Args:
            timeout: Seconds for one cell.
            max_characters: Longer output is cut.
            packages: What cells may import beside the standard library; see `aepo.tools.sandbox.choose`.
            ready: Sandboxes that are started in advance, for all sessions together.
        """
        self._timeout, self._most = timeout, max_characters
        self._settings = None if packages is None else str(packages), ready, self._forks
        self._interpreter: Interpreter | None = None

    _forks = False

    async def reset(self, seed: int, setup: str = "") -> None:
        """Start an interpreter; `random` is seeded.

        Raises:
            SandboxUnavailable: bubblewrap does not contain untrusted code here.
        """
        await self.close()
        self._interpreter = await _threaded(self._started, self._ended)
        await _threaded(partial(self._interpreter.seed, seed))
        if setup:
            result = await self._run(setup)
            if result.status is not SandboxStatus.OK:
                await self.close()
                raise ValueError(f"the sample's setup failed: {text_of(result, 500, self._timeout)}")

    async def python(self, code: str) -> str:
        """Run Python code and read what it prints, and the value of a last expression. Names and files stay.

        Args:
            code: The code of one cell.

        Raises:
            ToolLost: The cell met a limit or ended the interpreter.
        """
        result = await self._run(code)
        text = _ADDRESS.sub("at 0x...", text_of(result, self._most, self._timeout))
        if self._interpreter is None or not self._interpreter.alive:
            # Whether a cell meets a limit depends on the machine, and nobody knows what was done before.
            raise ToolLost(f"{text}\nthe session has ended")
        return text

    async def close(self) -> None:
        """End the interpreter and all that it has started."""
        interpreter, self._interpreter = self._interpreter, None
        if interpreter is not None:
            await _threaded(partial(self._ended, interpreter))

    async def _run(self, code: str) -> SandboxResult:
        """Run a cell.

        Raises:
            EnvironmentLost: The sandbox was killed, or the session has ended before.
        """
        if self._interpreter is None or not self._interpreter.alive:
            raise EnvironmentLost("the Python session has ended")
        result = await self._interpreter.run(code, self._timeout)
        if result.status is SandboxStatus.INFRASTRUCTURE_ERROR:
            raise EnvironmentLost(f"the Python session has ended: {result.stderr.strip()[-300:]}")
        return result

    def _started(self) -> Interpreter:
        try:
            return self._ready().take()
        except SandboxLost as error:
            raise EnvironmentLost(str(error)) from error

    def _ended(self, interpreter: Interpreter) -> None:
        interpreter.end()
        self._ready().give_back()

    def _ready(self) -> Ready:
        return _ready(*self._settings)


class ForkingPythonSession(PythonSession):
    """One whose snapshots are forks of the interpreter, which wait."""

    _forks = True

    async def snapshot(self) -> object:
        """A fork, which waits until the snapshot is dropped."""
        if self._interpreter is None:
            raise EnvironmentLost("the Python session has ended")
        return _Kept(await _threaded(partial(_fork, self._interpreter), Interpreter.end))

    async def restore(self, snapshot: Any) -> None:
        """Go on in a fork of the snapshot."""
        await self.close()
        self._ready().join()
        try:
            self._interpreter = await _threaded(partial(_fork, snapshot.interpreter), Interpreter.end)
        except BaseException:
            self._ready().give_back()
            raise

    def _started(self) -> Interpreter:
        # The first process runs no cell, so that its end is not that of the forks.
        first = super()._started()
        try:
            return _fork(first)
        except BaseException:
            self._ready().give_back()
            raise
        finally:
            first.end()


class _Kept:
    """A fork that runs nothing."""

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter
        weakref.finalize(self, interpreter.end)


def python_session(
    *,
    fork: Literal["process"] | None = None,
    timeout: float = 5.0,
    max_characters: int = 4000,
    packages: str | Path | None = None,
    ready: int = 2,
) -> Callable[[], PythonSession]:
    """A factory of Python sessions, for `aepo.environment`.

    Args:
        fork: "process" makes a branch by a fork of the interpreter; by default its cells run again.
        timeout: Seconds for one cell.
        max_characters: Longer output is cut.
        packages: What cells may import beside the standard library; see `aepo.tools.sandbox.choose`.
        ready: Sandboxes that are started in advance, for all sessions together.
    """
    kind = PythonSession if fork is None else ForkingPythonSession
    return partial(kind, timeout=timeout, max_characters=max_characters, packages=packages, ready=ready)


def _ready(packages: str | None, count: int, forks: bool) -> Ready:
    """Those of this process. The first call probes the sandbox on the event loop, so it must not come from there."""
    key = (packages, count, forks)
    if key not in _made:
        with _making:
            if key not in _made:
                _made[key] = _new(packages, count, forks)
    return _made[key]


def _new(packages: str | None, count: int, forks: bool) -> Ready:
    box = choose("bubblewrap", packages)
    assert isinstance(box, BubblewrapSandbox)
    if forks:
        # A path and all of its branches count together.
        limits = replace(SandboxLimits(), processes=_FORK_PROCESSES)
        box = BubblewrapSandbox(limits, packages=packages)
    return Ready(box, count)


def _fork(interpreter: Interpreter) -> Interpreter:
    try:
        return interpreter.fork()
    except SandboxLost as error:
        raise EnvironmentLost(str(error)) from error


async def _threaded(work: Callable[[], Any], undo: Callable[[Any], object] | None = None) -> Any:
    """Do it in a thread. If the caller is cancelled, the end is waited for, and the result undone."""
    future = Future[Any]()

    def do() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=do, name="python session", daemon=True).start()
    try:
        return await waited(future, lambda: None)
    except asyncio.CancelledError:
        if undo is not None and future.exception() is None:
            undo(future.result())
        raise
