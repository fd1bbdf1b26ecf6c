"""Plays MiniWoB++ tasks at random and plays the same actions again in a new context: is each text the same?

python benchmarks/miniwob_replay.py [--tasks click-button,enter-text] [--steps 6] [--at-once 4] [--seed 0]
"""

from __future__ import annotations

import argparse
import os
import random
import re
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from aepo.environments import expected
from aepo.process import event_loop
from aepo.tasks.miniwob import MiniWob, names
from aepo.types import ToolError

ELEMENT = re.compile(r"\[(\d+)\](?: (textbox|select|number|password|date|time|email|tel|color|range)\b)?([^\[\n]*)")


@dataclass
class Played:
    """One play: what was done, and what was seen after each action."""

    actions: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    replay_seconds: list[float] = field(default_factory=list)
    difference: str = ""


def choices(text: str) -> list[tuple[str, dict[str, Any]]]:
    """The actions that a look offers."""
    found: list[tuple[str, dict[str, Any]]] = []
    for number, kind, rest in ELEMENT.findall(text):
        if kind == "select":
            options = rest.partition("(of: ")[2].rpartition(")")[0].split(", ")
            found += [("select", {"number": int(number), "option": option}) for option in options[:3]]
        elif kind in ("", "color", "range"):
            found.append(("click", {"number": int(number)}))
        else:
            found.append(("type", {"number": int(number), "text": "abc"}))
    return found


async def told(world: MiniWob, name: str, arguments: dict[str, Any]) -> str:
    """What an action gives, with the end and the reward."""
    try:
        text = await getattr(world, name)(**arguments)
    except ToolError as error:
        text = f"error: {error}"
    return f"{text}\ndone {world.done}, reward {world.get_reward()}"


async def play(task: str, steps: int, seed: int) -> Played:
    """Play at random, then again in another context."""
    played, draw = Played(), random.Random(f"{task} {seed}")
    world = MiniWob()
    played.seen.append(await world.reset(task, seed))
    while len(played.actions) < steps and not world.done and (offered := choices(played.seen[-1])):
        action = draw.choice(offered)
        played.actions.append(action)
        played.seen.append(await told(world, *action))
    await world.close()
    world, began = MiniWob(), time.perf_counter()
    again = [await world.reset(task, seed)]
    for action, text in zip(played.actions, played.seen[1:], strict=True):
        token = expected.set(text.rpartition("\n")[0])
        again.append(await told(world, *action))
        expected.reset(token)
    played.replay_seconds.append(time.perf_counter() - began)
    await world.close()
    for number, (before, after) in enumerate(zip(played.seen, again, strict=True)):
        if before != after and not played.difference:
            lines = [pair for pair in zip(before.split("\n"), after.split("\n"), strict=False) if pair[0] != pair[1]]
            played.difference = f"after {number} of {len(played.actions)}: {lines[:1]}"
    return played


def processor_seconds() -> float:
    """Seconds of this process and its children, which are the browser and its driver."""
    parents, ticks = {}, {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
            parents[int(entry.name)], ticks[int(entry.name)] = int(stat[1]), int(stat[11]) + int(stat[12])
    family = {os.getpid()}
    while more := {process for process, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(ticks.get(process, 0) for process in family) / os.sysconf("SC_CLK_TCK")


async def play_all(tasks: list[str], steps: int, seed: int, at_once: int) -> dict[str, Played]:
    """Play all tasks, some at once."""
    found: dict[str, Played] = {}
    places = anyio.CapacityLimiter(at_once)

    async def one(task: str) -> None:
        async with places:
            try:
                found[task] = await play(task, steps, seed)
            except Exception as error:
                found[task] = Played(difference=f"{type(error).__name__}: {error}")

    async with anyio.create_task_group() as group:
        for task in tasks:
            group.start_soon(one, task)
    return found


def main() -> None:
    """Print one table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--tasks", default="", help="names, separated by commas; all by default")
    options.add_argument("--steps", type=int, default=6)
    options.add_argument("--at-once", type=int, default=2)
    options.add_argument("--seed", type=int, default=7)
    given = options.parse_args()
    tasks = given.tasks.split(",") if given.tasks else names()
    began = time.perf_counter()
    found = event_loop.run(play_all, tasks, given.steps, given.seed, given.at_once)
    wall, spent = time.perf_counter() - began, processor_seconds()
    equal = [played for played in found.values() if not played.difference]
    actions = [len(played.actions) for played in found.values()]
    for task in sorted(found):
        if found[task].difference:
            print(f"{task}: {found[task].difference}")
    print("| tasks | replay equal | with actions | with several | actions | replay, median | all | processor |")
    print("|---|---|---|---|---|---|---|---|")
    several = sum(number > 1 for number in actions)
    print(
        f"| {len(found)} | {len(equal)} | {sum(map(bool, actions))} | {several} | {sum(actions)} "
        f"| {statistics.median(p.replay_seconds[0] for p in equal):.2f} s | {wall:.0f} s | {spent:.0f} s |"
    )
    print("no element to act on:", ", ".join(task for task in sorted(found) if not found[task].actions) or "none")


if __name__ == "__main__":
    main()
