"""What a class must have to be an environment, and how its methods are found and called.

`reset` takes what it names and returns the opening text or None. Every other public method is a tool. Optional are
`get_reward`, `done`, `close`, `snapshot` with `restore`, and `state`.
"""

from __future__ import annotations

import functools
import inspect
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from aepo.types import Sample

RESERVED = frozenset({"reset", "get_reward", "done", "close", "snapshot", "restore", "state"})
"""Public names that are no tools."""


class EnvironmentLost(Exception):
    """Raised by a world that has died, such as a browser that crashed. It is opened again, and the call is repeated."""


class Diverged(Exception):
    """A world did not come to the state in which it was before: it is not deterministic, or it shares something."""


def class_of(factory: Callable[[], Any]) -> type:
    """The class of the worlds that a factory makes; a function is called once to learn it.

    Raises:
        TypeError: The class has no `reset`.
    """
    made = factory.func if isinstance(factory, functools.partial) else factory
    kind = made if isinstance(made, type) else type(factory())
    if not callable(getattr(kind, "reset", None)):
        raise TypeError(f"environment {kind.__name__}: define reset(self), which may return a text")
    if has(kind, "snapshot") != has(kind, "restore"):
        raise TypeError(f"environment {kind.__name__}: snapshot and restore belong together, define both or none")
    return kind


def has(kind: type, method: str) -> bool:
    """Whether a class has a method."""
    return callable(getattr(kind, method, None))


def methods_of(kind: type) -> Sequence[tuple[str, Callable[..., Any]]]:
    """The methods that are tools, by name, in the order of their names.

    Raises:
        TypeError: There are none.
    """
    found = inspect.getmembers(kind, inspect.isfunction)
    tools = [
        (name, method)
        for name, method in found
        if not (name.startswith("_") or name in RESERVED)
        and not isinstance(inspect.getattr_static(kind, name), staticmethod)
    ]
    if not tools:
        raise TypeError(f"environment {kind.__name__}: no public method that could be a tool")
    return tools


def seed_of(sample: Sample) -> int:
    """The seed of a question: the same for all of its trajectories, in every process."""
    return zlib.crc32(sample.id.encode())


def reset_arguments(kind: type, sample: Sample) -> dict[str, Any]:
    """What `reset` is called with, of: question, target, id, seed, and the metadata of the sample.

    Raises:
        ValueError: It needs something that the sample does not have.
    """
    own = {"question": sample.question, "target": sample.target, "id": sample.id, "seed": seed_of(sample)}
    known = {**own, **sample.metadata}
    parameters = list(inspect.signature(kind.reset).parameters.values())[1:]  # type: ignore[attr-defined]
    takes = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    missing = [p.name for p in takes if p.name not in known and p.default is p.empty]
    if missing:
        raise ValueError(
            f"reset of environment {kind.__name__} takes {missing[0]!r}, which sample {sample.id!r} does not have: "
            f"put it into its metadata (aepo solve: --metadata {missing[0]}=...); there are {', '.join(known)}"
        )
    anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    return known if anything else {p.name: known[p.name] for p in takes if p.name in known}
