"""The worlds of `world_storms.py`: tasks of few calls, policies that play them, and how to see what is open."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aepo.environments.browser import shared
from aepo.environments.methods import environment
from aepo.environments.python import python_session
from aepo.tasks.base import Task
from aepo.tasks.house import questions
from aepo.tasks.house.game import House
from aepo.tasks.miniwob import miniwob
from aepo.tools.sandbox.probe import processes_with
from aepo.types import Sample
from benchmarks.miniwob_policy import act
from benchmarks.scripted import Action, Policy

PAGES = ("click-button", "click-link", "click-tab", "click-test-2", "click-dialog-2", "focus-text-2")
QUESTIONS = 4
"""Questions of one rollout."""
CELLS = ("x = 1", "x += 1; x", "open('kept', 'a').write(str(x))", "open('kept').read()", "1 / 0", "print(x)")


@dataclass(frozen=True)
class World:
    """One kind.

    Attributes:
        task: A few questions, drawn at random.
        policy: Plays them.
        calls: The most calls of a trajectory.
        open: How many pages or processes of worlds are open, as the machine sees it.
        processes: The processes in which the worlds live; none if that is the trainer.
    """

    task: Callable[[random.Random], Task]
    policy: Policy
    calls: int
    open: Callable[[], Awaitable[int]]
    processes: Callable[[], list[int]]


def family() -> list[int]:
    """All living processes below this one."""
    parents = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(entry.name)] = int(parent)
    found, newest = list[int](), {os.getpid()}
    while newest := {process for process, parent in parents.items() if parent in newest}:
        found += newest
    return found


def _clicks(draw: random.Random) -> Task:
    made = miniwob(PAGES, problems=100, held_out=0)
    return Task("miniwob", draw.sample(made.samples, QUESTIONS), environment=made.environment)


async def _pages() -> int:
    current = shared.shared().current
    return 0 if current is None else len(current.chromium.contexts) + current.open


def _chromium() -> list[int]:
    current = shared._shared and shared._shared.current
    return processes_with(current.marker, 0) if current else []


def _cells(draw: random.Random) -> Task:
    samples = [Sample("Run cells.", id=f"cells-{draw.random()}", metadata={"setup": "x = 0"}) for _ in range(QUESTIONS)]
    return Task("cells", samples, reward=_nothing, environment=environment(python_session(), sandboxed=True))


def _nothing(sample: Sample, trajectory: object) -> float:
    return 0.0


def _cell(asked: str, seen: str, draw: random.Random) -> tuple[Action | None, int]:
    return ("python", {"code": draw.choice(CELLS)}), len(CELLS)


async def _processes() -> int:
    return len(family())


def _houses(draw: random.Random) -> Task:
    samples = questions("train", QUESTIONS, draw.randrange(1000), rooms=4)
    return Task("house", samples, environment=environment(House, inline=True, sandboxed=True))


def _walk(asked: str, seen: str, draw: random.Random) -> tuple[Action | None, int]:
    """Take keys, try the chest, and walk about."""
    now = seen if "Doors:" in seen else asked
    if "chest with" in seen and draw.random() < 0.8:
        return ("open", {"thing": "chest"}), 2
    if (key := re.search(r"\w+ key\b", now.partition("Here:")[2])) and draw.random() < 0.8:
        return ("take", {"thing": key[0]}), 2
    doors = re.findall(r"\w+", now.partition("Doors:")[2].partition(".")[0]) or ["hall"]
    return ("go", {"room": draw.choice(doors)}), len(doors)


async def _unseen() -> int:
    return 0


WORLDS = {
    "browser": World(_clicks, act, 2, _pages, _chromium),
    "python": World(_cells, _cell, 4, _processes, family),
    "house": World(_houses, _walk, 8, _unseen, list),
}
