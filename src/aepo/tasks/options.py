"""Converts the options of a task to the types of its function's parameters."""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

_DEFAULTS: dict[type, Any] = {str: str, bool: bool, int: int | float, float: int | float}


def bound(name: str, make: Callable[..., object], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the types that the function's parameters have.

    A parameter without a hint has the type of its default if that is a text, a number or a bool, else any type.

    Args:
        name: Name of the task, for the message.
        make: The task's function.
        options: The options of a configuration, where plain words may still be texts.

    Raises:
        ValueError: An option is unknown or missing, or a value does not fit; the message names it.
    """
    parameters = _signature(make).parameters
    known = [one.name for one in parameters.values() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    for option in options:
        if option not in known and not takes_any:
            near = difflib.get_close_matches(option, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
            raise ValueError(f"task {name!r} has no option {option!r}: {hint}")
    try:
        inspect.signature(make).bind(**options)
    except TypeError as error:
        raise ValueError(f"task {name!r}: {error}; give it as task.options.<name>=...") from None
    return {
        option: _typed(f"task {name!r}: option {option!r}", _hint(parameters[option]), value)
        if option in known
        else value
        for option, value in options.items()
    }


def _signature(make: Callable[..., object]) -> inspect.Signature:
    try:
        return inspect.signature(make, eval_str=True)
    except Exception:  # a hint may be any expression, e.g. a name that is imported for type checkers only
        return inspect.signature(make)


def _hint(parameter: inspect.Parameter) -> Any:
    if parameter.annotation is not parameter.empty:
        return parameter.annotation
    return _DEFAULTS.get(type(parameter.default), Any)


def _typed(what: str, hint: Any, value: Any) -> Any:
    if hint is Any or isinstance(hint, str):
        return value
    try:
        adapter = TypeAdapter(hint)
    except (PydanticUserError, PydanticUndefinedAnnotation):  # a class of the user's, which a configuration cannot hold
        return value
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]["msg"]
    try:
        return adapter.validate_python(_written(value))
    except ValidationError:
        raise ValueError(f"{what}: {first[0].lower()}{first[1:]}, got {value!r}") from None


def _written(value: Any) -> Any:
    """A value with its numbers and bools as the words in which they were written."""
    if isinstance(value, list):
        return [_written(inner) for inner in value]
    if isinstance(value, dict):
        return {key: _written(inner) for key, inner in value.items()}
    return json.dumps(value) if isinstance(value, bool | int | float) else value
