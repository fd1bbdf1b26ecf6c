"""From a plain typed function to the JSON schema that a model reads: its type hints and Google docstring."""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Callable
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_SCALARS: dict[Any, str] = {int: "integer", float: "number", str: "string", bool: "boolean", type(None): "null"}
_PLAIN: dict[Any, dict[str, Any]] = {
    **{scalar: {"type": name} for scalar, name in _SCALARS.items()},
    list: {"type": "array"},
    tuple: {"type": "array"},
    dict: {"type": "object"},
    Any: {},
}
_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Yields|Examples?|Notes?):[ \t]*$", re.MULTILINE)
_ARGUMENT = re.compile(r"^(\w+)(?:\s*\([^)]*\))?:[ \t]*(.*)$")
_CHOICES = re.compile(r"\(choices:\s*(.*?)\)\s*$", re.IGNORECASE | re.DOTALL)


class ToolDefinitionError(TypeError):
    """A function cannot be a tool; the line says what to write."""


def signature_of(function: Callable[..., Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Read a function's description, its parameters' JSON schema, and their types.

    Returns:
        (description, {"type": "object", "properties": ..., "required": ...}, type by name).

    Raises:
        ToolDefinitionError: A parameter has no type hint, one that JSON cannot carry, or no line under `Args:`; or
            there is no docstring.
    """
    name = getattr(function, "__name__", repr(function))
    if not (function.__doc__ or "").strip():
        raise ToolDefinitionError(f"tool {name}: no docstring; write one line on what it does, and an 'Args:' section")
    description, documented = parse_docstring(function.__doc__ or "")
    if not description:
        raise ToolDefinitionError(
            f"tool {name}: the docstring does not say what the tool does; begin it with one sentence"
        )
    try:
        hints = get_type_hints(function)
    except NameError as error:
        raise ToolDefinitionError(
            f"tool {name}: a type hint cannot be resolved ({error}); import it at module level"
        ) from error
    properties: dict[str, Any] = {}
    required: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        argument = parameter.name
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ToolDefinitionError(
                f"tool {name}: argument {argument!r} cannot be given by name; make it a plain argument"
            )
        if argument not in hints:
            raise ToolDefinitionError(
                f"tool {name}: argument {argument!r} has no type hint; write e.g. '{argument}: str'"
            )
        if not documented.get(argument):
            raise ToolDefinitionError(
                f"tool {name}: argument {argument!r} is not described; "
                f"add '{argument}: ...' under 'Args:' in the docstring"
            )
        try:
            schema = type_schema(hints[argument])
        except TypeError as error:
            raise ToolDefinitionError(f"tool {name}: argument {argument!r}: {error}") from None
        text = documented[argument]
        if choices := _CHOICES.search(text):
            schema = {**schema, "enum": [str(c).strip() for c in json.loads(choices.group(1))]}
            text = text[: choices.start()].strip()
        properties[argument] = {**schema, "description": text}
        if parameter.default is parameter.empty:
            required.append(argument)
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        parameters["required"] = required
    return description, parameters, {p: hints[p] for p in properties}


def parse_docstring(text: str, named: str = "Args") -> tuple[str, dict[str, str]]:
    """Split a Google docstring into what stands before its first section, and the description of each name in one."""
    text = inspect.cleandoc(text)
    sections = list(_SECTION.finditer(text))
    description = text[: sections[0].start() if sections else None].strip()
    arguments: dict[str, str] = {}
    for at, section in enumerate(sections):
        if section.group(1) != named:
            continue
        end = sections[at + 1].start() if at + 1 < len(sections) else None
        current = ""
        for line in inspect.cleandoc("\n" + text[section.end() : end]).splitlines():
            if match := _ARGUMENT.match(line):
                current = match.group(1)
                arguments[current] = match.group(2).strip()
            elif current and line.strip():
                arguments[current] = f"{arguments[current]} {line.strip()}".strip()
    return description, arguments


def type_schema(hint: Any) -> dict[str, Any]:
    """The JSON schema of a type hint, in the form that chat templates of transformers expect.

    Raises:
        TypeError: JSON has no such value.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin is None and isinstance(hint, type) and issubclass(hint, Enum):
        return _enum([member.value for member in hint])
    if origin is None and hint in _PLAIN:
        return dict(_PLAIN[hint])
    if origin is Literal:
        return _enum(list(args))
    if origin in (Union, types.UnionType):
        return _union(args)
    if origin is list:
        return {"type": "array", "items": type_schema(args[0])}
    if origin is tuple and ... not in args:
        return {"type": "array", "prefixItems": [type_schema(a) for a in args]}
    if origin is dict:
        return {"type": "object", "additionalProperties": type_schema(args[1])}
    raise TypeError(f"type {hint!r} is not one that JSON can carry; use str, int, float, bool, list, dict or Literal")


def _union(args: tuple[Any, ...]) -> dict[str, Any]:
    options = [type_schema(a) for a in args if a is not type(None)]
    if len(options) == 1:
        schema = options[0]
    elif all(option.keys() == {"type"} for option in options):
        names = sorted({option["type"] for option in options})
        schema = {"type": names[0] if len(names) == 1 else names}
    else:
        schema = {"anyOf": options}
    return {**schema, "nullable": True} if type(None) in args else schema


def _enum(values: list[Any]) -> dict[str, Any]:
    if not values or any(type(value) not in _SCALARS for value in values):
        raise TypeError(f"choices {values} must be text, numbers, booleans or None")
    kinds = list(dict.fromkeys(_SCALARS[type(value)] for value in values))
    return {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": values}
