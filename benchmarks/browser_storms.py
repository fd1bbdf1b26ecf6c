"""Storms in the browser: rollouts cancelled at random moments, Chromium killed, the trainer killed. What is left?

    python -m benchmarks.browser_storms [--storms 6] [--rollouts 4] [--k 4] [--seconds 10]

A scripted policy plays MiniWoB++ in the real rollout, with branches. In each storm several rollouts run at once, and
each is cancelled at a moment drawn at random. Then Chromium is killed amid a rollout, which goes on to its end, and
Chromium is ended with the process. At last a new process is killed with SIGKILL amid its rollouts. It prints a row for
each of these, with what is left afterwards: pages, processes of Chromium, other processes, temporary folders.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import anyio

from aepo.core.entropy_branching import EntropyBranching
from aepo.environments.browser import shared
from aepo.process import event_loop
from aepo.tasks.miniwob import EASY, miniwob
from aepo.tools.counts import counting, taken
from aepo.tools.sandbox.probe import processes_with
from aepo.types import Group, StopReason
from benchmarks.miniwob_policy import act
from benchmarks.scripted import BRANCHY, grown

ROOT = Path(__file__).parents[1]
WAIT = 60.0
"""Seconds until what is left then counts as left."""
HEAD = "| | rollouts | cancelled | trajectories | worlds opened | not closed | pages | browsers | processes | folders |"
Left = tuple[int, int, int]


def left(folder: Path, wait: float = WAIT) -> Left:
    """Processes of Chromium, other processes, and entries in the temporary folder of a process that has ended."""
    deadline = time.monotonic() + wait
    while any(found := _left(folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def _left(folder: Path) -> Left:
    browsers = others = 0
    for entry in Path("/proc").iterdir():
        try:
            line, inside = ((entry / name).read_bytes() for name in ("cmdline", "environ"))
        except OSError:
            continue
        if os.fsencode(folder) in inside + line:
            browser = b"chrom" in line.partition(b"\0")[0]
            browsers, others = browsers + browser, others + (not browser)
    return browsers, others, len(list(folder.iterdir()))


async def _rollout(number: int, k: int) -> list[Group]:
    task = miniwob(EASY[number % len(EASY) :][:2], problems=1, held_out=0)
    groups, _ = await grown(task, act, EntropyBranching(k, BRANCHY), 6)
    return groups


async def _pages() -> int:
    current = shared.shared().current
    return 0 if current is None else len(current.chromium.contexts) + current.open


async def _pages_left() -> int:
    """Those that stay open: a page that was being opened when its rollout was cancelled is closed a moment later."""
    with anyio.move_on_after(WAIT):
        while await _pages():
            await anyio.sleep(0.1)
    return await _pages()


async def _storm(draw: random.Random, rollouts: int, k: int, seconds: float) -> Counter[str]:
    """Rollouts at once, each of which is cancelled at a moment of its own."""
    found: Counter[str] = Counter(rollouts=rollouts)

    async def one(number: int, after: float) -> None:
        with anyio.move_on_after(after) as scope:
            found["trajectories"] += sum(len(group.tree.leaves) for group in await _rollout(number, k))
        found["cancelled"] += scope.cancelled_caught

    async with anyio.create_task_group() as tasks:
        for _ in range(rollouts):
            tasks.start_soon(one, draw.randrange(100), draw.uniform(0.1, seconds))
    return found


async def _killed(draw: random.Random, k: int) -> Counter[str]:
    """A rollout amid which Chromium is killed."""
    growing = asyncio.create_task(_rollout(draw.randrange(100), k))
    while not (current := shared.shared().current) or current.open < 2:
        await asyncio.sleep(0.05)
    await asyncio.sleep(draw.uniform(0.0, 1.0))
    for process in await asyncio.to_thread(processes_with, current.marker, 0):
        os.kill(process, signal.SIGKILL)
    leaves = [leaf for group in await growing for leaf in group.tree.leaves]
    lost = sum(leaf.stop_reason is StopReason.LOST for leaf in leaves)
    return Counter(rollouts=1, trajectories=len(leaves), lost=lost)


def inside(options: argparse.Namespace) -> None:
    """What the process does that is watched; it prints the counts of its storms."""
    draw, tests = random.Random(options.seed), {f"storm {n + 1}": _storm for n in range(options.storms)}
    for name in [*tests, "Chromium killed"]:
        with counting() as counts:
            if name in tests:
                found = event_loop.run(_storm, draw, options.rollouts, options.k, options.seconds)
            else:
                found = event_loop.run(_killed, draw, options.k)
            worlds = taken(counts)
        opened, closed = (int(worlds.get(f"environment/{what}", 0)) for what in ("opened", "closed"))
        told = [found["rollouts"], found["cancelled"], found["trajectories"], opened, opened - closed]
        lost = (
            f" ({found['lost']} lost, {worlds.get('environment/recovered', 0):.0f} recovered)" if found["lost"] else ""
        )
        print(f"| {name}{lost} | {' | '.join(map(str, told))} | {event_loop.run(_pages_left)} | | | |", flush=True)


def endless(options: argparse.Namespace) -> None:
    """Rollouts without end; it says when worlds are open."""
    draw = random.Random(options.seed)

    async def grow() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(options.rollouts):
                tasks.start_soon(_rollout, draw.randrange(100), options.k)
            while await _pages() < 2 * options.rollouts:
                await anyio.sleep(0.05)
            print("open", flush=True)
            await anyio.sleep_forever()

    event_loop.run(grow)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storms", type=int, default=6)
    parser.add_argument("--rollouts", type=int, default=4)
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inside", choices=["storms", "endless"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        return inside(options) if options.inside == "storms" else endless(options)
    print(f"{HEAD}\n{'|---' * (HEAD.count('|') - 1)}|", flush=True)
    for name, what in (("end of that process", "storms"), ("trainer killed amid rollouts", "endless")):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "benchmarks.browser_storms", *sys.argv[1:], "--inside", what]
            variables = {**os.environ, "TMPDIR": folder}
            with subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                if what == "endless":
                    process.stdout.readline()
                    time.sleep(random.Random(options.seed).uniform(0, 3))
                    process.kill()
                else:
                    for line in process.stdout:
                        print(line, end="", flush=True)
            counts = " | ".join(map(str, left(Path(folder))))
            print(f"| {name} (exit {process.returncode}) | | | | | | | {counts} |", flush=True)


if __name__ == "__main__":
    main()
