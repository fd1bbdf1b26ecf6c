"""Answers calls of a tool from kept results: to pay only once (`cached`), or to repeat a run (`record`, `replay`).

Equal calls get equal results. If a tool is `pure`, calls with the same arguments are equal. For other tools, two calls
are equal only if they are the same call of the same trajectory; only a replay of the run makes such a call again. An
environment must also have gone through the same calls before.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from aepo.tools.base import Execute, Tool
from aepo.tools.cache.database import KeptResult
from aepo.tools.cache.store import CacheUnavailable, Store
from aepo.tools.counts import count
from aepo.tools.places import Places
from aepo.types import ToolResult, ToolStatus

T = TypeVar("T")
CacheMode = Literal["live", "cached", "record", "replay"]

trajectory: ContextVar[str] = ContextVar("trajectory", default="")
"""The name of the trajectory that makes a call; a repeated run gives it the same name."""

history: ContextVar[Callable[[], str]] = ContextVar("history")
"""A name of all that the trajectory's environment has gone through."""


class ReplayError(RuntimeError):
    """A replay cannot go on: the file has no result for a call, or cannot be read."""


class _Flight:
    """A call that is being answered; equal calls wait for it."""

    def __init__(self) -> None:
        self.landed = anyio.Event()
        self.result: ToolResult | None = None


def cached(tool: Tool, store: Store, mode: CacheMode) -> Tool:
    """Make a tool that keeps its results in `store` and answers from there.

    The modes are:
    - live: the tool is unchanged.
    - cached: a kept success answers. Otherwise the tool runs, and a success is kept. A tool that is not pure is
      unchanged.
    - record: the first of equal calls runs. Its result is kept, also a failure, and replaces an older one; the calls
      after it get this result.
    - replay: only kept results answer, and the tool never runs.

    Args:
        tool: Any tool.
        store: The file; it must be open when the first call is made, and for `record` a recording must have begun.
        mode: One of the modes above.
    """
    if mode == "live" or (mode == "cached" and not tool.pure):
        return tool
    return replace(tool, around=(*tool.around, _Kept(tool, store, mode)))


class _Kept:
    """Wraps each call of a tool whose results are kept."""

    def __init__(self, tool: Tool, store: Store, mode: CacheMode) -> None:
        self.tool, self.store, self.mode = tool, store, mode
        self._running: anyio.lowlevel.RunVar[dict[str, _Flight]] = anyio.lowlevel.RunVar("flights")
        self._occurrences: Counter[tuple[str, str]] = Counter()
        # Only one thread at a time may use SQLite's connection.
        self._places = Places(1)

    async def __call__(self, execute: Execute, values: dict[str, Any]) -> ToolResult:
        """Answer a call; if an equal call is running, wait for its result."""
        began = time.perf_counter()
        arguments = self.tool.canonical(values)
        scope = self._scope(arguments)
        key = key_of(self.tool, arguments, scope)
        running = self._flights()
        while key in running:
            flight = running[key]
            await flight.landed.wait()
            if flight.result is not None:
                count("cache/hits")
                return replace(flight.result, seconds=time.perf_counter() - began)
        flight = running[key] = _Flight()
        try:
            flight.result = await self._answer(execute, values, key, arguments, scope)
        finally:
            del running[key]
            flight.landed.set()
        return flight.result

    def _scope(self, arguments: str) -> str:
        if self.tool.pure:
            return ""
        if self.tool.environment:
            return f"{trajectory.get()} after {history.get()()}"
        call = (trajectory.get(), arguments)
        self._occurrences[call] += 1
        return f"{trajectory.get()}#{self._occurrences[call]}"

    def _flights(self) -> dict[str, _Flight]:
        try:
            return self._running.get()
        except LookupError:
            made: dict[str, _Flight] = {}
            self._running.set(made)
            return made

    async def _answer(
        self, execute: Execute, values: dict[str, Any], key: str, arguments: str, scope: str
    ) -> ToolResult:
        began = time.perf_counter()
        found = await self._found(key)
        if found is not None and self._answers(found):
            count("cache/hits")
            return ToolResult(found.text, ToolStatus(found.status), time.perf_counter() - began)
        if self.mode == "replay":
            raise ReplayError(await self._in_thread(partial(_miss, self.tool, self.store, arguments, scope)))
        count("cache/misses")
        result = await execute(values)
        if self.mode == "cached" and result.status is not ToolStatus.OK:
            return result
        entry = KeptResult(
            key=key,
            tool=self.tool.name,
            version=self.tool.version,
            arguments=_readable(arguments),
            scope=scope,
            status=str(result.status),
            text=result.text,
            seconds=result.seconds,
            stored=time.time(),
        )
        return await self._keep(entry, result)

    async def _found(self, key: str) -> KeptResult | None:
        try:
            return await self._in_thread(partial(self.store.get, key))
        except CacheUnavailable as error:
            if self.mode == "replay":
                raise ReplayError(f"{error}; a replay needs it") from error
            count("cache/unavailable")
            return None

    def _answers(self, entry: KeptResult) -> bool:
        if self.mode == "record":
            return entry.recording == self.store.recording
        return self._usable(entry)

    def _usable(self, entry: KeptResult) -> bool:
        # A failed call may succeed now, so only record and replay may answer with a kept failure.
        return self.mode != "cached" or entry.status == ToolStatus.OK

    async def _keep(self, entry: KeptResult, result: ToolResult) -> ToolResult:
        try:
            kept, in_file = await self._in_thread(partial(self.store.put, entry))
        except CacheUnavailable:
            if self.mode == "record":
                raise
            count("cache/lost")
            return result
        count("cache/stored" if in_file else "cache/waiting")
        return replace(result, text=kept.text, status=ToolStatus(kept.status)) if self._usable(kept) else result

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._places())


def key_of(tool: Tool, arguments: str, scope: str = "") -> str:
    """Make the key of a result: a hash of the tool's name and version, its canonical arguments and the scope."""
    return hashlib.sha256(json.dumps([tool.name, tool.version, arguments, scope]).encode()).hexdigest()


def _readable(arguments: str) -> str:
    # The model's arguments may hold a lone surrogate, which the file cannot store.
    text = json.dumps(json.loads(arguments), ensure_ascii=False)
    return text.encode("utf-8", "replace").decode("utf-8")


def _miss(tool: Tool, store: Store, arguments: str, scope: str) -> str:
    shown = _readable(arguments)
    others = store.other_versions(tool.name, shown)
    shown = shown if len(shown) <= 300 else f"{shown[:300]}..."
    if tool.version not in others and others:
        why = f"the tool has version {tool.version}, the file has {', '.join(others)}"
    elif scope and others:
        why = "the tool is not pure, so only the very same run finds its results"
    else:
        why = "record it with tools.mode=record"
    return f"replay: no result of {tool.name} {shown} in {store.path}: {why}"
