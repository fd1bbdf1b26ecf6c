"""What each setting means, which values it takes and what it is by default, read from the classes of the settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from aepo.algorithms import Algorithm, AnyAlgorithm
from aepo.config.checks import algorithm_names
from aepo.config.section import ConfigError
from aepo.config.sections import Config
from aepo.tools.schema import parse_docstring

NAME = "NAME"
"""Stands in a key for a name that the user chooses."""


@dataclass(frozen=True)
class Setting:
    """One setting of a run.

    Attributes:
        key: The dotted key; `NAME` in it is a name that the user chooses.
        meaning: What it does.
        values: The values that it takes, in words.
        default: The value without a configuration, as plain data.
        algorithm: The algorithm that has it; empty for a setting of every run.
        presets: Its value under each preset of the algorithm that changes it.
    """

    key: str
    meaning: str
    values: str
    default: Any
    algorithm: str = ""
    presets: Mapping[str, Any] | None = None


def settings() -> list[Setting]:
    """All settings, in the order of the classes; those of an algorithm once for each algorithm that has them."""
    found = []
    for name, field in Config.model_fields.items():
        if name != "algorithm":
            default = field.get_default(call_default_factory=True)
            found += _of_field(Config, name, default, "")
    meaning, names = fields(Algorithm)["name"], " | ".join(algorithm_names())
    found.append(Setting("algorithm.name", meaning, names, Config().algorithm.name))
    for model in get_args(get_args(AnyAlgorithm)[0]):
        own = [key for key in model.model_fields if key != "name"]
        found += [_own(model, one) for key in own for one in _of_field(model, key, None, "algorithm.")]
    return found


def asked(word: str) -> list[Setting]:
    """The settings that a word names: a dotted key, the last part of one, or a section.

    Raises:
        ConfigError: There is none; the message names the nearest ones.
    """
    every = settings()
    exact = [one for one in every if re.fullmatch(_pattern(one.key), word)]
    ending = [one for one in every if one.key.endswith(f".{word}")]
    inside = [one for one in every if one.key.startswith(f"{word}.")]
    if found := exact or inside or ending:
        return found
    keys = list(dict.fromkeys(one.key for one in every))
    by_end = {key.rpartition(".")[2]: key for key in reversed(keys)}
    near = get_close_matches(word, keys, 3, 0.6)
    near += [by_end[end] for end in get_close_matches(word.rpartition(".")[2], by_end, 3, 0.6)]
    hint = f"did you mean {' or '.join(dict.fromkeys(near))}?" if near else "aepo settings lists all"
    raise ConfigError(f"unknown setting {word!r}: {hint}")


def fields(model: type[BaseModel]) -> dict[str, str]:
    """What each field of a settings class means: its own text, or that of the docstring, here or in a class before."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        found |= parse_docstring(one.__doc__ or "", "Attributes")[1] if issubclass(one, BaseModel) else {}
    own = {key: field.description for key, field in model.model_fields.items() if field.description}
    return {**found, **own}


def _of_field(model: type[BaseModel], key: str, section: Any, prefix: str) -> Iterator[Setting]:
    """The settings of a field: one, or those of a section; and those of a section that may stand there."""
    field = model.model_fields[key]
    default = field.get_default(call_default_factory=True) if section is None else section
    if isinstance(default, BaseModel):
        for inner in type(default).model_fields:
            yield from _of_field(type(default), inner, getattr(default, inner), f"{prefix}{key}.")
        return
    schema = model.model_json_schema()
    values = _words(schema["properties"][key], schema.get("$defs", {}))
    yield Setting(f"{prefix}{key}", fields(model).get(key, ""), values, default)
    name, inside = _inside(field.annotation)
    for inner in inside.model_fields if inside else ():
        yield from _of_field(inside, inner, None, f"{prefix}{key}.{name}")


def _own(model: type[BaseModel], one: Setting) -> Setting:
    """A setting of an algorithm, with what the presets of the algorithm make of it."""
    key, name = one.key.removeprefix("algorithm."), model.model_fields["name"].default
    presets = get_args(model.model_fields["preset"].annotation) if "preset" in model.model_fields else ()
    made = {preset: getattr(model(preset=preset), key) for preset in presets if key != "preset"}
    changed = {preset: value for preset, value in made.items() if value != one.default}
    return Setting(one.key, one.meaning, one.values, one.default, name, changed)


def _inside(annotation: Any) -> tuple[str, Any]:
    """The model inside of an optional section or of a mapping by name, and how the name is written in a key."""
    parts = get_args(annotation)
    models = [one for one in parts if isinstance(one, type) and issubclass(one, BaseModel)]
    return (f"{NAME}." if get_origin(annotation) is dict and models else "", models[0] if models else None)


def _pattern(key: str) -> str:
    return re.escape(key).replace(NAME, r"[^.]+")


def _words(schema: Mapping[str, Any], defined: Mapping[str, Any]) -> str:
    """The values that a JSON schema allows, in words."""
    if "anyOf" in schema:
        return ", or ".join(_words(one, defined) for one in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(str(one) for one in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    if "$ref" in schema:
        inner = defined[schema["$ref"].rpartition("/")[2]]
        return f"keys: {', '.join(inner['properties'])}" if "properties" in inner else _words(inner, defined)
    if schema.get("type") == "array":
        return f"a list of: {_words(schema.get('items', {}), defined)}"
    if schema.get("format") == "date":
        return "a date like 2026-01-31"
    kind = {"integer": "a whole number", "number": "a number", "boolean": "true | false", "string": "a text"}
    kind |= {"null": "null", "object": "keys with values"}
    limits = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    within = [f"{word} {schema[name]:g}" for name, word in limits.items() if name in schema]
    return " ".join([kind.get(str(schema.get("type")), "a value"), *within])
