"""What the adapters share: how a package is imported, and how a method is made of a description."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel


def package(module: str, install: str) -> Any:
    """Import a module of a package that is no dependency.

    Raises:
        ImportError: It does not load; the line says what to install.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f"{module} does not load ({error}): {install}") from error


def method(
    name: str, description: str, arguments: type[BaseModel], call: Callable[[Any, dict[str, Any]], Any]
) -> Callable[..., Any]:
    """A method with the fields of a pydantic model as arguments.

    Args:
        name: Its name.
        description: What it does.
        arguments: The model; each field has a type, perhaps a default, and a description.
        call: Called with the object and the arguments by name.
    """

    def made(self: Any, **values: Any) -> Any:
        return call(self, values)

    fields = {key: (field, _plain(field.annotation)) for key, field in arguments.model_fields.items()}
    lines = [f"    {key}: {' '.join((field.description or key).split())}" for key, (field, _) in fields.items()]
    made.__name__ = made.__qualname__ = name
    made.__doc__ = "\n".join([" ".join(description.split()), *(["", "Args:", *lines] if lines else [])])
    made.__annotations__ = {key: hint for key, (_, hint) in fields.items()}
    kind, empty = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = [
        inspect.Parameter(
            key,
            kind,
            annotation=hint,
            default=empty if field.is_required() else field.get_default(call_default_factory=True),
        )
        for key, (field, hint) in fields.items()
    ]
    made.__signature__ = inspect.Signature([own, *parameters])  # type: ignore[attr-defined]
    return made


def _plain(hint: Any) -> Any:
    """An object of a class of its own is given as a dictionary."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return dict[str, Any] if any(isinstance(k, type) and issubclass(k, BaseModel) for k in kinds) else hint
