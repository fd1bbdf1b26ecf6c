"""Makes the recorded calls of a trajectory again in a fresh world, and checks that each gives what it gave before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from aepo.environments.contract import Diverged, EnvironmentLost
from aepo.process import user_code
from aepo.tools.base import ToolBug
from aepo.tools.counts import count
from aepo.types import ToolCall, ToolResult, ToolStatus

if TYPE_CHECKING:
    from aepo.environments.base import Environment

SHOWN = 200
"""Most characters of a text in a message."""

expected: ContextVar[str | None] = ContextVar("expected", default=None)
"""What a call gave before, while it is made again. A world that waits for a page to be still may stop when it shows
this."""


@dataclass(frozen=True)
class Executed:
    """A call that a trajectory has made."""

    call: ToolCall
    result: ToolResult


def history_of(steps: Sequence[Executed]) -> str:
    """A hash of all that a world has gone through."""
    told = [[step.call.name, step.call.arguments, step.result.text, step.result.status] for step in steps]
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


async def make_again(environment: Environment, step: Executed) -> None:
    """Make a call again in the current session; a method that changes nothing is left out.

    Raises:
        Diverged: It gives something else.
        EnvironmentLost: The world died, or did not answer in time.
    """
    if step.call.name in environment.read_only:
        return
    token = expected.set(step.result.text)
    try:
        result = await environment.by_name[step.call.name].again(step.call.arguments)
    except ToolBug as bug:
        if isinstance(bug.original, EnvironmentLost):
            raise bug.original from None
        raise Diverged(f"{shown(step.call)} raised {user_code.told(bug.original)}") from bug
    finally:
        expected.reset(token)
    count("environment/replayed_calls")
    if result.status is ToolStatus.TIMEOUT:
        raise EnvironmentLost(result.text)
    if (what := difference(step.result, result)) is not None:
        raise Diverged(f"{shown(step.call)} {what}")


def difference(before: ToolResult, now: ToolResult) -> str | None:
    """How two results of one call differ, in words; None if they are equal."""
    if (before.text, before.status) == (now.text, now.status):
        return None
    how = f" ({now.status}, before {before.status})" if before.status is not now.status else ""
    return f"gave {now.text[:SHOWN]!r}, before {before.text[:SHOWN]!r}{how}"


def shown(call: ToolCall) -> str:
    """A call for a message."""
    return f"{call.name} {json.dumps(call.arguments, ensure_ascii=False)[:SHOWN]}"
