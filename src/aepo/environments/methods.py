"""`aepo.environment`: makes tools of the public methods of a class, with one object of it for each trajectory."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from math import inf
from typing import Any, TypeAlias, get_type_hints

from aepo.environments.base import Environment, OnException, WorldTools
from aepo.environments.contract import class_of, methods_of
from aepo.environments.process import in_process
from aepo.environments.session import current
from aepo.tools.base import BadArguments, Last, Tool, ToolSettings, as_text, tool
from aepo.tools.schema import ToolDefinitionError
from aepo.types import ToolError

Methods: TypeAlias = Sequence[tuple[str, Callable[..., Any]]]
"""Methods by name."""

_LONG = 1e6
"""Seconds."""


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
    methods = _checked(kind, max_open, reset_timeout, read_only, own_random)
    settings = ToolSettings(timeout=timeout, max_characters=max_characters, concurrency=max_open)
    # An async world may use what belongs to the event loop, so that all of it is called there.
    on_loop = inspect.iscoroutinefunction(kind.reset)  # type: ignore[attr-defined]
    made = Environment(
        factory,
        kind,
        kind.__name__,
        _tools(kind, methods, settings),
        max_open,
        inline or on_loop or own_random,
        reset_timeout,
        own_random,
        errors,
        frozenset(read_only),
        sandboxed,
        _told(reset_timeout),
    )
    return made.named(made.name)


def _told(reset_timeout: float) -> WorldTools:
    """What a world tells; opening has limits of its own."""
    return WorldTools(
        tool(name="environment.reset", timeout=_LONG, max_characters=sys.maxsize)(_opening),
        tool(name="environment.state", timeout=reset_timeout, max_characters=sys.maxsize)(_looking),
        tool(name="environment.end", timeout=reset_timeout, max_characters=sys.maxsize)(_ending),
        tool(name="environment.refused", max_characters=sys.maxsize)(_refusal),
    )


def _checked(kind: type, max_open: int, reset_timeout: float, read_only: Collection[str], own_random: bool) -> Methods:
    """The methods that are tools; the settings fit the class."""
    for name, limit in (("max_open", max_open), ("reset_timeout", reset_timeout)):
        if not 0 < limit < inf:
            raise ValueError(f"environment {kind.__name__}: {name} is {limit}, must be positive")
    methods = methods_of(kind)
    if unknown := set(read_only) - {name for name, _ in methods}:
        raise ValueError(f"environment {kind.__name__}: read_only names {min(unknown)!r}, which is no method of it")
    called = [kind.reset, *(method for _, method in methods)]  # type: ignore[attr-defined]
    if own_random and any(map(inspect.iscoroutinefunction, called)):
        raise ValueError(f"environment {kind.__name__}: own_random needs methods that are not async")
    return methods


async def _opening() -> str:
    """The opening text."""
    session = current.get()
    await session.open()
    return session.environment.openings[session.sample.id]


async def _looking() -> dict[str, Any]:
    """The state before the end."""
    return await current.get().looked()


async def _ending() -> dict[str, Any]:
    """Outcome and state at the end."""
    return await current.get().ending()


async def _refusal() -> str:
    """The reason why the branch was refused."""
    return current.get().refused


def _tools(kind: type, methods: Methods, settings: ToolSettings) -> tuple[Tool, ...]:
    try:
        return tuple(_tool(name, method, settings) for name, method in methods)
    except (ToolDefinitionError, NameError) as error:
        raise TypeError(f"environment {kind.__name__}: {error}; or let the method's name begin with _") from None


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
