"""Tasks: questions with tools and a reward. `load` finds one by name."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from aepo.tasks import datasets
from aepo.tasks.base import Task

BUILT_IN = {"atlas": "aepo.tasks.atlas:atlas"}


def load(name: str, options: Mapping[str, Any]) -> Task:
    """The task of a name, made with `options`.

    Args:
        name: A built-in one, a data set of `aepo.tasks.datasets`, or "package.module:function" for a function that
            returns a `Task`.
        options: Arguments of the function.

    Raises:
        ValueError: There is no such task or option, or the function returns something else.
    """
    make = _maker(name)
    signature = inspect.signature(make)
    known = list(signature.parameters)
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
            raise ValueError(f"task {name!r} has no option {option!r}: {hint}")
    try:
        signature.bind(**options)
    except TypeError as error:
        raise ValueError(f"task {name!r}: {error}; give it as task.options.<name>=...") from None
    task = make(**options)
    if not isinstance(task, Task):
        raise ValueError(f"task {name!r} is a {type(task).__name__}: the function must return an aepo.Task")
    return task


def _maker(name: str) -> Callable[..., object]:
    if name in datasets.NAMES:
        from aepo.tasks.benchmark import benchmark

        return partial(benchmark, datasets.find(name))
    where = BUILT_IN.get(name, name)
    module, colon, function = where.partition(":")
    if not colon:
        known = [*BUILT_IN, *datasets.NAMES]
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown task {name!r}: {hint}known: {', '.join(known)}, or package.module:function")
    try:
        made: Callable[..., object] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"task {name!r} cannot be imported: {error}") from error
    return made
