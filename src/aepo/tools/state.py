"""Finds tools that seem to keep state between calls, which all trajectories would share."""

from __future__ import annotations

import dis
import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any

from aepo.tools.base import Tool

_log = logging.getLogger(__name__)
_CONTAINERS = (list, dict, set, bytearray)
_WRITES = frozenset({"STORE_DEREF", "STORE_GLOBAL", "DELETE_GLOBAL"})


def warn_of_state(tools: Iterable[Tool]) -> None:
    """Log one line for each tool that may keep state and does not say that it is pure."""
    for tool in tools:
        if not tool.pure and not tool.environment and (why := state_of(tool.function)) is not None:
            _log.warning(
                "tool %s may keep state: it %s, and one object serves all trajectories at once: make it an environment "
                "(docs/environments.md), or say @aepo.tool(pure=True) if it keeps none",
                tool.name,
                why,
            )


def state_of(function: Callable[..., Any]) -> str | None:
    """Why a function may keep state between calls; None if there is no sign of it.

    Our own tools keep no state. Another tool may be a method, which can change its object, or a function that can
    change an outer container or sets an outer name.
    """
    if (getattr(function, "__module__", None) or "").partition(".")[0] == __package__.partition(".")[0]:
        return None
    owner = getattr(function, "__self__", None)
    if owner is not None and not inspect.isclass(owner) and not inspect.ismodule(owner):
        return f"is a method of a {type(owner).__name__}"
    plain = inspect.unwrap(function)
    code = getattr(plain, "__code__", None)
    if code is None:
        return None
    for name, cell in zip(code.co_freevars, plain.__closure__ or (), strict=True):
        try:
            held = cell.cell_contents
        except ValueError:  # the cell is not set yet
            continue
        if isinstance(held, _CONTAINERS):
            return f"holds the {type(held).__name__} {name!r}"
    outside = {i.argval for i in dis.get_instructions(code) if i.opname in _WRITES} - set(code.co_cellvars)
    return f"sets {min(outside)!r}, which is outside of it" if outside else None
