"""Runs the command line; at a chosen moment tells another process by a pipe and waits until that one goes on.

python stopped.py PLACE NUMBER PIPE ARGUMENT...

PLACE is "call" (inside a tool, of the rollout), "update" or "save" (of a checkpoint, in its own thread), NUMBER counts
from 1. Reading PIPE says that the moment has come; the process goes on once PIPE.go is written.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aepo.cli import main
from aepo.runs import manifest
from aepo.training import loop
from tests import tiny


def before(function: Callable[..., Any], number: int, pipe: str) -> Callable[..., Any]:
    """The function, but its call of that number waits first."""
    calls = 0

    def waiting(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            Path(pipe).write_text("here")
            Path(f"{pipe}.go").read_text()
        return function(*args, **kwargs)

    return waiting


if __name__ == "__main__":
    # What was started in the background by a shell ignores Ctrl-C, and so would everything that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    place, number, pipe, *arguments = sys.argv[1:]
    owner, name = {"call": (tiny, "on_call"), "update": (loop, "update"), "save": (manifest, "seal")}[place]
    setattr(owner, name, before(getattr(owner, name), int(number), pipe))
    sys.exit(main(arguments))
