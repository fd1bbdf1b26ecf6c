"""A tool that is answered from kept results: to pay once (`cached`), or so that a run repeats (`record`, `replay`).

Equal calls are given equal results. That is for tools that say that they are `pure`; for others a call is equal to
another one only if it is the same call of the same trajectory, which a replay meets again and no other run does.
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
"""Names the trajectory that makes a call, so that a repeated run names it the same."""


class ReplayError(RuntimeError):
    """A replay cannot go on: the file has no result for a call, or cannot be read."""


class _Flight:
    """A call that is being answered; equal ones wait for it."""

    def __init__(self) -> None:
        self.landed = anyio.Event()
        self.result: ToolResult | None = None


def cached(tool: Tool, store: Store, mode: CacheMode) -> Tool:
    """The same tool, its results kept in `store` and taken from there.

    live: as it is. cached: a kept success answers, else the tool runs and a success is kept; tools that are not pure
    run as they are. record: the first of equal calls runs and is kept, failures too, in place of what was kept before;
    those after it get its result. replay: only what is kept answers, and the tool never runs.

    Args:
        tool: Any.
        store: Open when the first call is made, for `record` with a recording begun.
        mode: What to do.
    """
    if mode == "live" or (mode == "cached" and not tool.pure):
        return tool
    return replace(tool, around=(*tool.around, _Kept(tool, store, mode)))


class _Kept:
    """What stands around the calls of a tool whose results are kept."""

    def __init__(self, tool: Tool, store: Store, mode: CacheMode) -> None:
        self.tool, self.store, self.mode = tool, store, mode
        self._running: anyio.lowlevel.RunVar[dict[str, _Flight]] = anyio.lowlevel.RunVar("flights")
        self._occurrences: Counter[tuple[str, str]] = Counter()
        # SQLite's connection serves one thread at a time.
        self._places = Places(1)

    async def __call__(self, execute: Execute, values: dict[str, Any]) -> ToolResult:
        """The result of a call, which equal ones that come meanwhile wait for."""
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
        # What failed once may succeed now; only a recording must have it fail again.
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
    """What a result is kept under: a hash of the tool's name and version, canonical arguments, and scope."""
    return hashlib.sha256(json.dumps([tool.name, tool.version, arguments, scope]).encode()).hexdigest()


def _readable(arguments: str) -> str:
    # A model may have written half a surrogate pair, which the file cannot hold.
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
