"""Runs the calls of one turn at the same time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import anyio

from aepo.environments.session import current
from aepo.rollout.repeats import again, repeated, shared_key
from aepo.tools.base import Tool, run_call
from aepo.types import Node, ToolCall, ToolResult, ToolStatus

OnToolBug = Literal["stop", "tell"]
Repeat = Literal["run", "answer"]


async def run_together(
    tools: Mapping[str, Tool],
    calls: Sequence[ToolCall],
    walk: Sequence[Node],
    on_bug: OnToolBug = "stop",
    repeat: Repeat = "run",
) -> tuple[ToolResult, ...]:
    """Run all calls of a turn; the results are in the order of the calls.

    A call that cannot be run gets its error as its result, and the others run. The first exception stops the others.
    Calls to an environment run one after another, because each may change its world.

    Args:
        tools: The tools by name.
        calls: The turn's calls.
        walk: The trajectory so far, up to the turn.
        on_bug: As in `run_call`.
        repeat: "answer" gives a call the earlier result of an equal call in the trajectory or in this turn; "run" runs
            it again.

    Raises:
        ToolBug: A tool has a bug and `on_bug` is "stop".
        ToolMisconfigured: A tool cannot work until a person changes something.
    """
    keys = [shared_key(call, tools) if repeat == "answer" else None for call in calls]
    of_world = [call.name in tools and bool(tools[call.name].environment) for call in calls]
    results: dict[int, ToolResult] = {}
    ended = [anyio.Event() for _ in calls]

    async def run(at: int) -> None:
        results[at] = await answer(at)
        ended[at].set()

    async def answer(at: int) -> ToolResult:
        if keys[at] is not None:
            if found := repeated(walk, calls[at], tools):
                return found
            for twin in [before for before in range(at) if keys[before] == keys[at]]:
                await ended[twin].wait()
                if results[twin].status is ToolStatus.OK:
                    return again(results[twin])
        if not of_world[at]:
            return await run_call(tools, calls[at], on_bug)
        for before in (before for before in range(at) if of_world[before]):
            await ended[before].wait()
        result = await run_call(tools, calls[at], on_bug)
        current.get().note(calls[at], result)
        return result

    if len(calls) == 1:
        return (await answer(0),)
    try:
        async with anyio.create_task_group() as tasks:
            for at in range(len(calls)):
                tasks.start_soon(run, at)
    except ExceptionGroup as failures:
        first = failures.exceptions[0]
        raise first from first.__cause__
    return tuple(results[at] for at in range(len(calls)))
