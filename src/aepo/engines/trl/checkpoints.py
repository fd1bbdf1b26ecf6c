"""TRL's checkpoints: `checkpoint-<optimizer step>/`, each a model folder with the state of the trainer beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from aepo.core.exploration import ExplorationState
from aepo.files.whole import write_whole
from aepo.training.budget import Spent

STATE_FILE = "exploration.json"
STATE_FORMAT = 1
_NAME = re.compile(r"checkpoint-(\d+)")


def newest(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end, None if there is none.

    The trainer's state is written after weights, optimizer and exploration.
    """
    found = {int(name[1]): path for path in folder.glob("checkpoint-*") if (name := _NAME.fullmatch(path.name))}
    return next((found[step] for step in sorted(found, reverse=True) if _is_whole(found[step])), None)


def optimizer_step(path: Path) -> int:
    """The optimizer step that a checkpoint was taken after."""
    return int(path.name.removeprefix("checkpoint-"))


def write_state(path: Path, exploration: ExplorationState, spent: Spent) -> None:
    """Put what a run has learned about its entropies, and what it has used, into a checkpoint."""
    state = {"format": STATE_FORMAT, "exploration": exploration.to_dict(), "spent": spent.to_dict()}
    write_whole(path / STATE_FILE, (json.dumps(state) + "\n").encode())


def read_state(path: Path) -> dict[str, Any]:
    """What `write_state` wrote: `exploration` and `spent`.

    Raises:
        ValueError: It is not there, or of another version.
    """
    try:
        state: dict[str, Any] = json.loads((path / STATE_FILE).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot go on from {path}: {STATE_FILE}: {error.strerror}") from error
    if state["format"] != STATE_FORMAT:
        raise ValueError(f"{path / STATE_FILE} has format {state['format']!r}, this version reads {STATE_FORMAT}")
    return state


def _is_whole(path: Path) -> bool:
    try:
        json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True
