"""The page of all settings: dotted keys with their types, defaults and meanings, from the classes of `aepo.config`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from aepo.algorithms import AnyAlgorithm
from aepo.config import Config
from website.markdown import cell

_INTRODUCTION = """\
A run is described by a YAML file with these keys; every one can be overridden on the command line by its dotted name,
`train.steps=50`. Unknown keys are errors. The defaults are the vetted setting.
"""


def page(package: Any) -> tuple[str, set[str]]:
    """The page, and the files of the repository that it links to: none.

    Args:
        package: `aepo` as griffe knows it; the meanings come from its docstrings.
    """
    lines = ["# Settings", "", _INTRODUCTION]
    sections = {name: field.default for name, field in Config.model_fields.items()}
    plain = [name for name, default in sections.items() if not isinstance(default, BaseModel)]
    lines += ["## Top", "", *_table(package, Config, "", plain)]
    for name, default in sections.items():
        if name == "algorithm":
            lines += _algorithms(package)
        elif isinstance(default, BaseModel):
            lines += ["", f"## `{name}` {{ #{name} }}", "", *_table(package, type(default), f"{name}.")]
    return "\n".join(lines) + "\n", set()


def _algorithms(package: Any) -> Iterator[str]:
    yield from ("", "## `algorithm` { #algorithm }", "")
    yield "`algorithm.name` picks one, or a class of yours as `module:Class`. Each has its own keys and defaults."
    for model in get_args(get_args(AnyAlgorithm)[0]):
        name = model.model_fields["name"].default
        yield from ("", f"### `{name}` {{ #algorithm.{name} }}", "")
        keys = [key for key in model.model_fields if key != "name"]
        yield from _table(package, model, "algorithm.", keys)


def _table(package: Any, model: type[BaseModel], prefix: str, keys: list[str] | None = None) -> Iterator[str]:
    yield from ("| key | default | meaning |", "|---|---|---|")
    for key in model.model_fields if keys is None else keys:
        yield from _rows(package, model, prefix, key)


def _rows(package: Any, model: type[BaseModel], prefix: str, key: str) -> Iterator[str]:
    field = model.model_fields[key]
    default = field.get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        for inner in type(default).model_fields:
            yield from _rows(package, type(default), f"{prefix}{key}.", inner)
        return
    meaning = cell(field.description or meanings(package, model).get(key, "")) + _choice(field.annotation)
    yield f"| `{prefix}{key}` | `{json.dumps(default)}` | {meaning} |"
    name, inside = _parts(field.annotation)
    for inner in inside.model_fields if inside else ():
        yield from _rows(package, inside, f"{prefix}{key}.{name}", inner)


def _choice(annotation: Any) -> str:
    values = get_args(annotation) if get_origin(annotation) is Literal else ()
    return f" One of {', '.join(f'`{value}`' for value in values)}." if len(values) > 1 else ""


def _parts(annotation: Any) -> tuple[str, Any]:
    """The model inside of an optional section or of a mapping by name, and how the name is written."""
    arguments = get_args(annotation)
    models = [one for one in arguments if isinstance(one, type) and issubclass(one, BaseModel)]
    return ("NAME." if str in arguments and models else "", models[0] if models else None)


def meanings(package: Any, model: type[BaseModel]) -> dict[str, str]:
    """What each field of a settings class means, by its docstring or that of a class before it."""
    found: dict[str, str] = {}
    classes = [f"{one.__module__}.{one.__qualname__}" for one in model.__mro__ if one.__module__.startswith("aepo.")]
    for path in reversed(classes):
        documented = package[path.removeprefix("aepo.")]
        for section in documented.docstring.parsed if documented.docstring else ():
            if section.kind.value == "attributes":
                found |= {item.name: item.description for item in section.value}
    return found
