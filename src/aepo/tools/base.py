"""`@tool`: a plain typed function becomes something a model can call, with a time limit and a limit on calls at once.

A tool speaks to the model in three ways only: what it returns, the message of a `ToolError`, and that it took too long.
Everything else that leaves it, `SystemExit` and the like too, is a bug in the tool and leaves `Tool.call` as `ToolBug`,
except `ToolMisconfigured`, which stops the run.
"""

from __future__ import annotations

import functools
import inspect
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, Literal, ParamSpec, Protocol, Self, TypeAlias, overload

import anyio
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from aepo.process import user_code
from aepo.tools.cut import cut
from aepo.tools.places import Places
from aepo.tools.schema import signature_of
from aepo.types import ToolCall, ToolError, ToolResult, ToolStatus

P = ParamSpec("P")
_LAX = ConfigDict(coerce_numbers_to_str=True, arbitrary_types_allowed=False)

Execute: TypeAlias = Callable[[dict[str, Any]], Awaitable[ToolResult]]
"""Runs a call whose arguments are checked; the result is not cut yet."""

Around: TypeAlias = Callable[[Execute, dict[str, Any]], Awaitable[ToolResult]]
"""Stands between a checked call and its execution: it may wait, answer by itself, or refuse by an exception."""


class ToolTimeout(ToolError):
    """The tool stopped itself because its time was up; the call ends with `ToolStatus.TIMEOUT`."""


class BadArguments(ToolError):
    """The tool found itself that the arguments do not fit; the call ends with `ToolStatus.BAD_ARGUMENTS`."""


class ToolLost(ToolError):
    """The world of the tool died and could not be brought back; the call ends with `ToolStatus.LOST`."""


class Last(str):
    """The text of a call after which nothing more can be done; the call ends with `ToolStatus.DONE`."""


class ToolBug(Exception):
    """A tool raised something else than `ToolError`.

    Attributes:
        tool: Name of the tool.
        arguments: What it was called with.
        original: What it raised.
    """

    def __init__(self, tool: str, arguments: Mapping[str, Any], original: BaseException) -> None:
        """Keep the three for the report."""
        super().__init__(f"tool {tool} raised {user_code.told(original)}; raise ToolError to tell the model")
        self.tool = tool
        self.arguments = dict(arguments)
        self.original = original


class ToolMisconfigured(RuntimeError):
    """A tool cannot work as it is set up, for instance because a service refuses the key.

    It leaves the call as it is and stops the run, whatever is to happen with bugs: a person has to change something.
    """


@dataclass(frozen=True, kw_only=True)
class ToolSettings:
    """How a tool is called. Each setting is written here and nowhere else: `@aepo.tool(...)` and `Tool` take them all.

    Attributes:
        name: What the model writes; the function's own name by default.
        timeout: Seconds for one call, waiting for a free place not counted.
        concurrency: Calls at once; the others wait.
        max_characters: Longer results are cut, with a note that says so.
        inline: Call a sync function on the spot instead of in a thread, without a timeout. For functions that answer
            within a millisecond: a thread's way there and back takes longer, but here nothing else goes on meanwhile.
        version: Results that were kept under another one are not used again; change it when answers change.
        pure: Equal arguments may be answered by an earlier result. Not so for tools with a memory, a clock or chance
            that matters, which is the default.
        service: What it asks, shared with other tools that ask the same; "" for nothing that is shared.
        price: What one executed call costs, in the currency of the run's budget.
    """

    name: str = ""
    timeout: float = 30.0
    concurrency: int = 32
    max_characters: int = 4000
    inline: bool = False
    version: str = "1"
    pure: bool = False
    service: str = ""
    price: float = 0.0

    def checked(self, owner: str) -> Self:
        """The same, if a tool can work with these numbers.

        Raises:
            ValueError: A limit is not positive, or the price is below 0; the line begins with `owner`.
        """
        for limit in ("timeout", "concurrency", "max_characters"):
            if getattr(self, limit) <= 0:
                raise ValueError(f"{owner}: {limit} is {getattr(self, limit)}, must be positive")
        if not 0 <= self.price < inf:
            raise ValueError(f"{owner}: price is {self.price}, must be a number from 0 on")
        return self


@dataclass(frozen=True, kw_only=True)
class Tool(ToolSettings):
    """A function that a model can call, with its settings.

    Attributes:
        description: What the model reads.
        parameters: JSON schema of the arguments: an object with properties and required names.
        function: The function itself, sync or async, as written.
        check: Takes the arguments as the model wrote them and gives those that the function is called with; raises
            `ToolError` that says what is wrong with them.
        details: What the records of a run should say of it, such as the sandbox in use; never a key.
        around: What stands around each call, from the inside out.
        environment: The name of the environment whose method it is; "" for a plain function. Calls of one turn to an
            environment run one after another.
    """

    description: str
    parameters: dict[str, Any]
    function: Callable[..., Any]
    check: Callable[[Mapping[str, Any]], dict[str, Any]] = field(repr=False, compare=False)
    details: Mapping[str, str] = field(default_factory=dict)
    around: tuple[Around, ...] = field(default=(), repr=False)
    environment: str = ""

    @functools.cached_property
    def _places(self) -> Places:
        return Places(self.concurrency)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the function itself, as in a test of it: without checks and limits. An async one must be awaited."""
        return self.function(*arguments, **named)

    def schema(self) -> dict[str, Any]:
        """The form in which chat templates take a tool."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}

    async def call(self, arguments: Mapping[str, Any]) -> ToolResult:
        """Check the arguments, run the function, and say how it ended.

        How the function is run, and what becomes of it after a timeout, says `aepo.process.user_code.call`.

        Raises:
            ToolBug: The function raised something else than `ToolError`.
            Exception: Whatever stands around the call refuses it with.
            ToolMisconfigured: The function cannot work until a person changes something.
        """
        started = time.perf_counter()
        try:
            values = self.check(arguments)
        except ToolError as error:
            text = clean(self._refused(error))
            return ToolResult(text, ToolStatus.BAD_ARGUMENTS, time.perf_counter() - started)

        async def run(values: dict[str, Any]) -> ToolResult:
            async with self._places():
                started = time.perf_counter()
                text, status = await self._run(values, arguments)
            return ToolResult(clean(text), status, time.perf_counter() - started)

        execute: Execute = run
        for around in self.around:
            execute = functools.partial(around, execute)
        result = await execute(values)
        return replace(result, text=cut(result.text, self.max_characters))

    async def again(self, arguments: Mapping[str, Any]) -> ToolResult:
        """Repeat a call that was made before: nothing stands around it, it takes no place, and it is not paid for.

        Raises:
            ToolError: The arguments do not fit.
            ToolBug: As `call`.
        """
        started = time.perf_counter()
        text, status = await self._run(self.check(arguments), arguments)
        return ToolResult(cut(clean(text), self.max_characters), status, time.perf_counter() - started)

    def canonical(self, arguments: Mapping[str, Any]) -> str:
        """The arguments as JSON that is equal for equal calls: checked, with defaults, sorted by name.

        Raises:
            ToolError: They do not fit.
        """
        values = self.check(arguments)
        for name, parameter in inspect.signature(self.function).parameters.items():
            if name in self.parameters.get("properties", {}) and parameter.default is not parameter.empty:
                values.setdefault(name, parameter.default)
        return json.dumps(to_jsonable_python(values, fallback=str), sort_keys=True, separators=(",", ":"))

    def _refused(self, error: ToolError) -> str:
        return f"bad arguments for {self.name}: {cut(str(error), 300)}"

    async def _run(self, values: dict[str, Any], arguments: Mapping[str, Any]) -> tuple[str, ToolStatus]:
        text, status = "", ToolStatus.OK
        try:
            with anyio.move_on_after(self.timeout) as scope:
                value = await user_code.call(functools.partial(self.function, **values), self.inline)
                text, status = as_text(value), ToolStatus.DONE if isinstance(value, Last) else ToolStatus.OK
        except ToolTimeout as error:
            return str(error), ToolStatus.TIMEOUT
        except BadArguments as error:
            return self._refused(error), ToolStatus.BAD_ARGUMENTS
        except ToolLost as error:
            return str(error), ToolStatus.LOST
        except ToolError as error:
            return str(error), ToolStatus.ERROR
        except (ToolMisconfigured, ToolBug):
            raise
        except Exception as error:
            cause = user_code.original(error)
            raise ToolBug(self.name, arguments, cause) from cause
        if scope.cancelled_caught:
            return f"{self.name} did not answer within {self.timeout:g} s", ToolStatus.TIMEOUT
        return text, status


class _Decorator(Protocol[P]):
    """What type checkers know of `tool`: it is used bare, or with the settings that `ToolSettings` takes."""

    @overload
    def __call__(self, function: Callable[..., Any], /) -> Tool: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, *none: P.args, **settings: P.kwargs) -> Callable[[Callable[..., Any]], Tool]: ...


def _taking(_: Callable[P, ToolSettings]) -> Callable[[Callable[..., Any]], _Decorator[P]]:
    return lambda decorator: decorator


@_taking(ToolSettings)
def tool(function: Callable[..., Any] | None = None, **settings: Any) -> Any:
    """Make a tool of a plain typed function with a Google docstring: `@tool` or `@tool(timeout=10, concurrency=8)`.

    Args:
        function: Sync or async; each argument has a type hint and a line under `Args:`.
        settings: Those of `ToolSettings`.

    Raises:
        TypeError: An argument has no usable type hint or no description, or there is no such setting.
        ValueError: A limit is not positive.

    Examples:
        >>> import anyio
        >>> @tool(timeout=5.0, pure=True)
        ... def divide(number: float, by: float) -> float:
        ...     '''Divide two numbers.
        ...
        ...     Args:
        ...         number: The number to divide.
        ...         by: The divisor.
        ...     '''
        ...     if by == 0:
        ...         raise ToolError("the divisor is 0: choose another one")
        ...     return number / by
        >>> anyio.run(run_call, {"divide": divide}, ToolCall("divide", {"number": 3, "by": 2})).text
        '1.5'
        >>> anyio.run(run_call, {"divide": divide}, ToolCall("divide", {"number": 3, "by": 0})).status
        <ToolStatus.ERROR: 'error'>
    """
    build = functools.partial(_build, ToolSettings(**settings))
    return build if function is None else build(function)


async def run_call(tools: Mapping[str, Tool], call: ToolCall, on_bug: Literal["stop", "tell"] = "stop") -> ToolResult:
    """Run what the policy asked for.

    Args:
        tools: By name.
        call: The call; one with an error is not run, the model is told the error.
        on_bug: "stop" raises a tool's bug, "tell" gives the model the name of the exception's class.

    Raises:
        ToolBug: The tool has a bug and `on_bug` is "stop".
        ToolMisconfigured: The tool cannot work until a person changes something.
    """
    known = f"known tools: {', '.join(tools) or 'none'}"
    if call.error is not None:
        return ToolResult(f"{call.error}; {known}", ToolStatus.BAD_ARGUMENTS)
    if call.name not in tools:
        return ToolResult(f"unknown tool {cut(clean(call.name), 80)!r}; {known}", ToolStatus.BAD_ARGUMENTS)
    started = time.perf_counter()
    try:
        return await tools[call.name].call(call.arguments)
    except ToolBug as bug:
        if on_bug == "stop":
            raise
        text = f"{call.name} failed inside: {type(bug.original).__name__}"
        return ToolResult(text, ToolStatus.BUG, time.perf_counter() - started)


def _build(settings: ToolSettings, function: Callable[..., Any]) -> Tool:
    description, parameters, hints = signature_of(function)
    name = settings.name or function.__name__
    named = replace(settings, name=name).checked(f"tool {name}")
    adapters = {argument: TypeAdapter(hint, config=_LAX) for argument, hint in hints.items()}
    check = functools.partial(_check_types, parameters, adapters)
    return Tool(**vars(named), description=description, parameters=parameters, function=function, check=check)


def _check_types(
    parameters: Mapping[str, Any], types: Mapping[str, TypeAdapter[Any]], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    wrong = [f"{name}: missing" for name in parameters.get("required", []) if name not in arguments]
    wrong += [f"{name}: no such argument" for name in arguments if name not in types]
    values: dict[str, Any] = {}
    for name, given in arguments.items():
        if name not in types:
            continue
        schema = parameters["properties"][name]
        allowed = schema.get("enum", [given]) + [None] * bool(schema.get("nullable"))
        try:
            values[name] = types[name].validate_python(given)
        except ValidationError as error:
            wrong.append(f"{name}: {error.errors(include_url=False)[0]['msg']}")
        else:
            if given not in allowed and values[name] not in allowed:
                wrong.append(f"{name}: one of {', '.join(map(str, allowed))}")
    if wrong:
        raise ToolError("; ".join(wrong))
    return values


def as_text(value: Any) -> str:
    """What the model reads of a value: a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def clean(text: str) -> str:
    """The text without lone surrogates, which tokenizers refuse."""
    return text.encode("utf-8", "replace").decode("utf-8")
