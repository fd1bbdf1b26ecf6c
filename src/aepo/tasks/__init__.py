"""Tasks: questions with tools and a reward. `load` makes one by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from aepo.files.modules import load_named, place
from aepo.tasks import datasets
from aepo.tasks.base import Task
from aepo.tasks.options import bound

BUILT_IN = {
    "atlas": "aepo.tasks.atlas:atlas",
    "house": "aepo.tasks.house:house",
    "miniwob": "aepo.tasks.miniwob:miniwob",
}


def load(name: str, options: Mapping[str, Any]) -> Task:
    """Make a task by its name.

    Args:
        name: A built-in task, a data set of `aepo.tasks.datasets`, or "package.module:function" for a function that
            returns a `Task`, or for a `Task` itself.
        options: Arguments of the function.

    Raises:
        ValueError: There is no such task or option, or the function fails or returns something else.
    """
    make = _maker(name)
    if isinstance(make, Task):
        if options:
            raise ValueError(f"task {name!r} is a task, not a function: it has no option {next(iter(options))!r}")
        return make
    arguments = bound(name, make, options)
    try:
        task = make(**arguments)
    except Exception as error:
        # Messages of Python such as "KeyError: 'answer'" say little without the place.
        where = place(error)
        if not where or isinstance(error, ValueError | OSError) or type(error).__module__ != "builtins":
            raise
        raise ValueError(f"task {name!r} cannot be made: {type(error).__name__}: {error}{where}") from error
    if not isinstance(task, Task):
        raise ValueError(f"task {name!r} is a {type(task).__name__}: the function must return an aepo.Task")
    return task


def _maker(name: str) -> Callable[..., object] | Task:
    if name in datasets.NAMES:
        from aepo.tasks.benchmark import benchmark

        return partial(benchmark, datasets.find(name))
    where = BUILT_IN.get(name, name)
    if ":" not in where:
        known = [*BUILT_IN, *datasets.NAMES]
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown task {name!r}: {hint}known: {', '.join(known)}, or package.module:function")
    made: Callable[..., object] | Task = load_named("task", where)
    if not callable(made) and not isinstance(made, Task):
        raise ValueError(f"task {name!r} is a {type(made).__name__}: name a function that returns an aepo.Task")
    return made
