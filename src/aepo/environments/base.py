"""`aepo.environment`: makes tools of the public methods of a class, with one object of it for each trajectory."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Literal, get_type_hints

from aepo.environments.contract import class_of, has, methods_of, reset_arguments
from aepo.environments.incidents import Incidents
from aepo.environments.process import in_process
from aepo.environments.session import current
from aepo.tools.base import BadArguments, Last, Tool, ToolSettings, as_text, tool
from aepo.tools.schema import ToolDefinitionError
from aepo.types import Sample, ToolError

_LONG = 1e6
"""Seconds; opening has limits of its own."""

OnException = Literal["bug", "tell"]


@dataclass(frozen=True)
class Environment:
    """Makes the worlds of trajectories; `aepo.environment` builds it.

    Attributes:
        factory: Makes one world, not reset; usually the class.
        kind: The class of the worlds.
        name: The name in messages and records.
        tools: The public methods of the class.
        max_open: Worlds that may be open at once in a rollout.
        inline: Call sync methods on the spot instead of in a thread of the world.
        reset_timeout: Seconds to make a world and to reset it.
        own_random: Give each world its own stream of the process's `random`, and of NumPy's if it is loaded.
        errors: "bug" stops the run at an exception that is no `ToolError`, by the rules of `rollout.on_tool_bug`;
            "tell" tells the model any exception.
        read_only: Methods that change nothing; a replay leaves them out.
        sandboxed: Whether its calls change nothing outside of the world.
        opening: Gives the opening text of a question, as a tool whose results can be kept; takes the session from
            `current`, as the next one does.
        looking: Gives the state before the end.
        ending: Gives outcome and state at the end.
        replayed: Whether all results come from a recording, so that no world is ever made.
        openings: The opening text of each question that was reset, by sample id.
        incidents: What went wrong in the worlds.
    """

    factory: Callable[[], Any]
    kind: type
    name: str
    tools: tuple[Tool, ...]
    max_open: int
    inline: bool
    reset_timeout: float
    own_random: bool
    errors: OnException
    read_only: frozenset[str]
    sandboxed: bool
    opening: Tool = field(repr=False)
    looking: Tool = field(repr=False)
    ending: Tool = field(repr=False)
    replayed: bool = False
    openings: dict[str, str] = field(default_factory=dict, compare=False, repr=False)
    incidents: Incidents = field(default_factory=Incidents, compare=False, repr=False)

    @functools.cached_property
    def by_name(self) -> Mapping[str, Tool]:
        """The tools by name."""
        return {tool.name: tool for tool in self.tools}

    @property
    def snapshots(self) -> bool:
        """Whether states can be kept."""
        return has(self.kind, "snapshot")

    @property
    def rewards(self) -> bool:
        """Whether a world says what its last state is worth."""
        return has(self.kind, "get_reward")

    def named(self, name: str) -> Environment:
        """The same under another name."""
        own = (self.opening, self.looking, self.ending)
        opening, looking, ending, *tools = (replace(tool, environment=name) for tool in (*own, *self.tools))
        return replace(self, name=name, tools=tuple(tools), opening=opening, looking=looking, ending=ending)

    def kept_by(self, keep: Callable[[Tool], Tool], replayed: bool) -> Environment:
        """The same with openings, states and endings that are kept and answered as results of tools are.

        Args:
            keep: Makes a tool whose results are kept.
            replayed: Whether all results come from a recording.
        """
        opening, looking, ending = map(keep, (self.opening, self.looking, self.ending))
        made = replace(self, opening=opening, looking=looking, ending=ending)
        return replace(made, replayed=replayed, openings={}, incidents=Incidents())

    def arguments(self, sample: Sample) -> dict[str, Any]:
        """What `reset` is called with.

        Raises:
            ValueError: It needs something that the sample does not have.
        """
        return reset_arguments(self.kind, sample)


def environment(
    factory: Callable[[], Any],
    *,
    timeout: float = 30.0,
    max_open: int = 64,
    max_characters: int = 4000,
    inline: bool = False,
    reset_timeout: float = 60.0,
    own_random: bool = False,
    errors: OnException = "bug",
    read_only: Collection[str] = (),
    sandboxed: bool = False,
    process: bool = False,
) -> Environment:
    """Make tools of the public methods of a class (`docs/environments.md`).

    Args:
        factory: The class, or a function without arguments that makes a world.
        timeout: Seconds for one call. A call that takes longer ends its trajectory.
        max_open: Worlds that may be open at once in a rollout.
        max_characters: Longer results are cut.
        inline: Call sync methods on the spot, without a timeout; for those that answer within a millisecond.
        reset_timeout: Seconds to make a world and to reset it.
        own_random: Give each world its own stream of the process's `random` and of NumPy's; the methods are then
            called on the spot.
        errors: "bug" stops the run at an exception that is no `aepo.ToolError`; "tell" tells the model any exception.
        read_only: Methods that change nothing; a replay leaves them out.
        sandboxed: Whether its calls change nothing outside of the world; `aepo.solve` warns if not.
        process: Run each world in a process of its own, for what one process shares, such as a JVM or a global
            variable. A call that takes too long is then killed.

    Raises:
        TypeError: There is no `reset`, or a method cannot be a tool, or another process cannot find the factory.
        ValueError: A limit is not positive, or a setting does not fit the class.
    """
    kind = class_of(factory)
    if process:
        factory = kind = in_process(factory, kind)
    for name, limit in (("max_open", max_open), ("reset_timeout", reset_timeout)):
        if not 0 < limit < inf:
            raise ValueError(f"environment {kind.__name__}: {name} is {limit}, must be positive")
    methods = methods_of(kind)
    if unknown := set(read_only) - {name for name, _ in methods}:
        raise ValueError(f"environment {kind.__name__}: read_only names {min(unknown)!r}, which is no method of it")
    # An async world may use what belongs to the event loop, so that all of it is called there.
    on_loop = inspect.iscoroutinefunction(kind.reset)  # type: ignore[attr-defined]
    if own_random and any(inspect.iscoroutinefunction(method) for _, method in (*methods, ("reset", kind.reset))):  # type: ignore[attr-defined]
        raise ValueError(f"environment {kind.__name__}: own_random needs methods that are not async")
    settings = ToolSettings(timeout=timeout, max_characters=max_characters, concurrency=max_open)
    try:
        tools = [_tool(name, method, settings) for name, method in methods]
    except (ToolDefinitionError, NameError) as error:
        raise TypeError(f"environment {kind.__name__}: {error}; or let the method's name begin with _") from None
    made = Environment(
        factory,
        kind,
        kind.__name__,
        tuple(tools),
        max_open,
        inline or on_loop or own_random,
        reset_timeout,
        own_random,
        errors,
        frozenset(read_only),
        sandboxed,
        tool(name="environment.reset", timeout=_LONG, max_characters=sys.maxsize)(_opening),
        tool(name="environment.state", timeout=reset_timeout, max_characters=sys.maxsize)(_looking),
        tool(name="environment.end", timeout=reset_timeout, max_characters=sys.maxsize)(_ending),
    )
    return made.named(made.name)


async def _opening() -> str:
    """The opening text."""
    return await current.get().said()


async def _looking() -> dict[str, Any]:
    """The state before the end."""
    return await current.get().looked()


async def _ending() -> dict[str, Any]:
    """Outcome and state at the end."""
    return await current.get().ending()


def _tool(name: str, method: Callable[..., Any], settings: ToolSettings) -> Tool:
    """The tool that calls a method of the world of the trajectory that asks."""

    async def call(**values: Any) -> Any:
        session = current.get()
        try:
            value = as_text(await session.call(name, values))
        except BadArguments:
            raise
        except ToolError as error:
            if not session.done:
                raise
            value = str(error)
        return Last(value) if session.done else value

    signature = inspect.signature(method)
    functools.update_wrapper(call, method)
    del call.__wrapped__  # type: ignore[attr-defined]
    call.__annotations__ = {key: hint for key, hint in get_type_hints(method).items() if key != "self"}
    own = list(signature.parameters.values())[1:]
    call.__signature__ = signature.replace(parameters=own)  # type: ignore[attr-defined]
    return tool(**vars(replace(settings, name=name)))(call)
