"""Checks nested keys and makes a configuration; an error is one line that says what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from aepo.algorithms import AnyAlgorithm
from aepo.config.chosen import own_algorithm
from aepo.config.section import ConfigError, Section
from aepo.config.sections import Config

S = TypeVar("S", bound=Section)

LONGEST_SHOWN = 100
"""Most characters of a value that an error message shows."""


def parse(data: Mapping[str, Any]) -> Config:
    """A validated configuration of a run.

    Raises:
        ConfigError: A key is unknown (the nearest known one is named) or a value does not fit.
    """
    return validated(Config, data)


def validated(model: type[S], data: Mapping[str, Any]) -> S:
    """A section with its values checked.

    Raises:
        ConfigError: As `parse`.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_explain(error, model, data)) from None


def _explain(error: ValidationError, model: type[BaseModel], data: Mapping[str, Any]) -> str:
    # A misspelt key comes first, because it can be the reason why another one is missing.
    first = min(error.errors(include_url=False), key=lambda found: found["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"]]
    # pydantic's location contains the discriminator of the union, which is no key of the configuration.
    if location[:1] == ["algorithm"] and len(location) > 1 and first["loc"][1] in algorithm_names():
        tag = location.pop(1)
    else:
        tag = None
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        own = own_algorithm(data["algorithm"]) if location[0] == "algorithm" and tag is None else None
        known = _fields(model, location[:-1], tag) if own is None else list(own.model_fields)
        near = difflib.get_close_matches(location[-1], known, 1, 0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        return f"unknown key {key!r}: {hint}"
    if first["type"] == "union_tag_invalid":
        names = algorithm_names()
        given = str(first["ctx"]["tag"])
        near = difflib.get_close_matches(given, names, 1, 0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"unknown algorithm {given!r}: {hint}known: {', '.join(names)}"
    message = first["msg"].removeprefix("Value error, ")
    shown = repr(first["input"])
    given = "" if isinstance(first["input"], dict) or len(shown) > LONGEST_SHOWN else f", got {shown}"
    if not key:
        return message
    return f"{key}: {message[0].lower()}{message[1:]}{given}"


def algorithm_names() -> list[str]:
    """The possible values of `algorithm.name`."""
    return [a.model_fields["name"].default for a in get_args(get_args(AnyAlgorithm)[0])]


def _fields(root: type[BaseModel], location: Sequence[str], tag: str | None) -> list[str]:
    model: Any = root
    named = False
    for part in location:
        if part.isdecimal() or named:  # an index in a list, or a name that the user chose
            named = False
            continue
        annotation = model.model_fields[part].annotation
        named = get_origin(annotation) is dict
        model = _model(annotation, tag)
        if model is None:
            return []
    return list(model.model_fields)


def _model(annotation: Any, tag: str | None) -> type[BaseModel] | None:
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType, list, dict) else (annotation,)
    models = [o for o in options if isinstance(o, type) and issubclass(o, BaseModel)]
    tagged = [m for m in models if tag is not None and m.model_fields["name"].default == tag]
    return next(iter(tagged or models), None)
