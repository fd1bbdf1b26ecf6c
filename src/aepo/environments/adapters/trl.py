"""Classes for TRL's `environment_factory`, as they are: an exception of a method is told to the model as TRL does."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from typing import Any, TypeVar

from aepo.environments.contract import EnvironmentLost, methods_of
from aepo.types import ToolError

K = TypeVar("K")


def trl(kind: type[K]) -> type[K]:
    """The same class, but that any exception of a tool is told to the model, as JSON with one key, "error".

    It can be used as a decorator. A class of TRL also runs without it; then an exception stops the run as a bug.
    """
    told = {name: _told(method) for name, method in methods_of(kind)}
    # Under the name of the class, so that another process finds it where a decorator has put it.
    return type(kind.__name__, (kind,), {**told, "__module__": kind.__module__, "__qualname__": kind.__qualname__})


def _told(method: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return await method(*args, **kwargs)
            except Exception as error:
                raise _as_told(error) from error
    else:

        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return method(*args, **kwargs)
            except Exception as error:
                raise _as_told(error) from error

    return call


def _as_told(error: Exception) -> Exception:
    if isinstance(error, ToolError | EnvironmentLost):
        return error
    return ToolError(json.dumps({"error": str(error)}))
