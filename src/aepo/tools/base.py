"""`@tool`: a plain typed function becomes something a model can call, with a time limit and a limit on calls at once.

A tool speaks to the model in three ways only: what it returns, the message of a `ToolError`, and that it took too long.
Everything else that leaves it is a bug in the tool and leaves `Tool.call` as `ToolBug`.
"""

from __future__ import annotations

import functools
import inspect
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, overload

import anyio
import anyio.lowlevel
import anyio.to_thread
from pydantic import ConfigDict, TypeAdapter, ValidationError

from aepo.tools.schema import signature_of
from aepo.types import ToolCall, ToolError, ToolResult, ToolStatus

_LAX = ConfigDict(coerce_numbers_to_str=True, arbitrary_types_allowed=False)


class ToolTimeout(ToolError):
    """The tool stopped itself because its time was up; the call ends with `ToolStatus.TIMEOUT`."""


class ToolBug(Exception):
    """A tool raised something else than `ToolError`.

    Attributes:
        tool: Name of the tool.
        arguments: What it was called with.
        original: What it raised.
    """

    def __init__(self, tool: str, arguments: Mapping[str, Any], original: Exception) -> None:
        """Keep the three for the report."""
        super().__init__(f"tool {tool} raised {type(original).__name__}: {original}; raise ToolError to tell the model")
        self.tool = tool
        self.arguments = dict(arguments)
        self.original = original


@dataclass(frozen=True)
class Tool:
    """A function that a model can call.

    Attributes:
        name: What the model writes.
        description: What the model reads.
        parameters: JSON schema of the arguments: an object with properties and required names.
        function: The function itself, sync or async, as written.
        timeout: Seconds for one call, waiting for a free place not counted.
        concurrency: Calls at once; the others wait.
        max_characters: Longer results are cut, with a note that says so.
        inline: Call a sync function on the spot instead of in a thread, without a timeout. For functions that answer
            within a millisecond: a thread's way there and back takes longer, but here nothing else goes on meanwhile.
        details: What the records of a run should say of it, such as the sandbox in use; never a key.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    function: Callable[..., Any]
    timeout: float = 30.0
    concurrency: int = 32
    max_characters: int = 4000
    inline: bool = False
    details: Mapping[str, str] = field(default_factory=dict)
    _types: Mapping[str, TypeAdapter[Any]] = field(default_factory=dict, repr=False, compare=False)
    # A limiter belongs to the event loop that first waits on it, and one tool may serve several loops in a process.
    _limiter: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = field(
        default_factory=lambda: anyio.lowlevel.RunVar("limiter"), repr=False, compare=False
    )

    def schema(self) -> dict[str, Any]:
        """The form in which chat templates take a tool."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}

    async def call(self, arguments: Mapping[str, Any]) -> ToolResult:
        """Check the arguments, run the function, and say how it ended.

        A sync function runs in a thread. It cannot be stopped there: after a timeout it is left to end by itself.

        Raises:
            ToolBug: The function raised something else than `ToolError`.
        """
        started = time.perf_counter()
        try:
            values = self._validated(arguments)
        except ToolError as error:
            return ToolResult(str(error), ToolStatus.BAD_ARGUMENTS, time.perf_counter() - started)
        async with self._places():
            started = time.perf_counter()
            text, status = await self._run(values, arguments)
        return ToolResult(_cut(_clean(text), self.max_characters), status, time.perf_counter() - started)

    async def _run(self, values: dict[str, Any], arguments: Mapping[str, Any]) -> tuple[str, ToolStatus]:
        text = ""
        try:
            with anyio.move_on_after(self.timeout) as scope:
                text = _as_text(await _invoke(self.function, values, self.inline))
        except ToolTimeout as error:
            return str(error), ToolStatus.TIMEOUT
        except ToolError as error:
            return str(error), ToolStatus.ERROR
        except Exception as error:
            raise ToolBug(self.name, arguments, error) from error
        if scope.cancelled_caught:
            return f"{self.name} did not answer within {self.timeout:g} s", ToolStatus.TIMEOUT
        return text, ToolStatus.OK

    def _places(self) -> anyio.CapacityLimiter:
        try:
            return self._limiter.get()
        except LookupError:
            limiter = anyio.CapacityLimiter(self.concurrency)
            self._limiter.set(limiter)
            return limiter

    def _validated(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        wrong = [f"{name}: missing" for name in self.parameters.get("required", []) if name not in arguments]
        wrong += [f"{name}: no such argument" for name in arguments if name not in self._types]
        values: dict[str, Any] = {}
        for name, given in arguments.items():
            if name not in self._types:
                continue
            schema = self.parameters["properties"][name]
            allowed = schema.get("enum", [given]) + [None] * bool(schema.get("nullable"))
            try:
                values[name] = self._types[name].validate_python(given)
            except ValidationError as error:
                wrong.append(f"{name}: {error.errors(include_url=False)[0]['msg']}")
            else:
                if given not in allowed and values[name] not in allowed:
                    wrong.append(f"{name}: one of {', '.join(map(str, allowed))}")
        if wrong:
            raise ToolError(f"bad arguments for {self.name}: {_cut('; '.join(wrong), 300)}")
        return values


@overload
def tool(function: Callable[..., Any]) -> Tool: ...
@overload
def tool(
    *,
    name: str | None = ...,
    timeout: float = ...,
    concurrency: int = ...,
    max_characters: int = ...,
    inline: bool = ...,
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    timeout: float = 30.0,
    concurrency: int = 32,
    max_characters: int = 4000,
    inline: bool = False,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a plain typed function with a Google docstring: `@tool` or `@tool(timeout=10, concurrency=8)`.

    Args:
        function: Sync or async; each argument has a type hint and a line under `Args:`.
        name: What the model writes; the function's own name by default.
        timeout: Seconds for one call.
        concurrency: Calls at once.
        max_characters: Longer results are cut.
        inline: Call a sync function on the spot instead of in a thread; see `Tool`.

    Raises:
        TypeError: An argument has no usable type hint or no description.
        ValueError: A limit is not positive.
    """
    if function is None:
        return functools.partial(
            _build,
            name=name,
            timeout=timeout,
            concurrency=concurrency,
            max_characters=max_characters,
            inline=inline,
        )
    return _build(function, name, timeout, concurrency, max_characters, inline)


async def run_call(tools: Mapping[str, Tool], call: ToolCall, on_bug: Literal["stop", "tell"] = "stop") -> ToolResult:
    """Run what the policy asked for.

    Args:
        tools: By name.
        call: The call; one with an error is not run, the model is told the error.
        on_bug: "stop" raises a tool's bug, "tell" gives the model the name of the exception's class.

    Raises:
        ToolBug: The tool has a bug and `on_bug` is "stop".
    """
    known = f"known tools: {', '.join(tools) or 'none'}"
    if call.error is not None:
        return ToolResult(f"{call.error}; {known}", ToolStatus.BAD_ARGUMENTS)
    if call.name not in tools:
        return ToolResult(f"unknown tool {_cut(_clean(call.name), 80)!r}; {known}", ToolStatus.BAD_ARGUMENTS)
    started = time.perf_counter()
    try:
        return await tools[call.name].call(call.arguments)
    except ToolBug as bug:
        if on_bug == "stop":
            raise
        text = f"{call.name} failed inside: {type(bug.original).__name__}"
        return ToolResult(text, ToolStatus.BUG, time.perf_counter() - started)


def _build(
    function: Callable[..., Any],
    name: str | None,
    timeout: float,
    concurrency: int,
    max_characters: int,
    inline: bool,
) -> Tool:
    description, parameters, hints, _ = signature_of(function)
    called = name or function.__name__
    for limit, value in (("timeout", timeout), ("concurrency", concurrency), ("max_characters", max_characters)):
        if value <= 0:
            raise ValueError(f"tool {called}: {limit} is {value}, must be positive")
    adapters = {argument: TypeAdapter(hint, config=_LAX) for argument, hint in hints.items()}
    return Tool(
        called, description, parameters, function, timeout, concurrency, max_characters, inline, _types=adapters
    )


async def _invoke(function: Callable[..., Any], values: dict[str, Any], inline: bool) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(**values)
    if inline:
        return function(**values)
    # Its own limiter: the tool's places are already counted, and the shared default would couple unrelated tools.
    result = await anyio.to_thread.run_sync(
        functools.partial(function, **values), abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
    )
    return await result if inspect.isawaitable(result) else result


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _clean(text: str) -> str:
    # Tokenizers refuse lone surrogates.
    return text.encode("utf-8", "replace").decode("utf-8")


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n[cut: {len(text) - limit} more characters]"
