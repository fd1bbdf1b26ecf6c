"""Storms: rollouts cancelled at random moments, what the worlds live in killed, the trainer killed. What is left?

    python -m benchmarks.world_storms [--world browser] [--trajectories 0] [--until 16:10] [--storms 6]
        [--rollouts 4] [--k 4] [--seconds 10]

A scripted policy plays in the real rollout, with branches: easy MiniWoB++ pages in a browser, cells in Python sessions,
or houses. In each storm several rollouts run at once, and each is cancelled at a moment drawn at random. Then the
processes in which the worlds live (Chromium, sandboxes) are killed amid a rollout, which goes on to its end. Before,
between and after these, rollouts run that nobody disturbs, until `--trajectories` have ended, or until the time of day
`--until` (UTC) has come. The process ends. At last a new one is killed with SIGKILL amid its rollouts.

It prints a row for each of these and each minute one of how far it is. Trajectories and worlds are counted from the
beginning; `files` and `threads` are those of the trainer's process.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio

from aepo.core.entropy_branching import EntropyBranching
from aepo.process import event_loop
from aepo.tools.counts import counting, taken
from benchmarks.scripted import BRANCHY, grown
from benchmarks.storm_worlds import WORLDS, World, family

ROOT = Path(__file__).parents[1]
WAIT = 60.0
"""Seconds until what is left then counts as left."""
MINUTE = 60.0
HEAD = (
    "| | time | trajectories | rollouts | cancelled | worlds opened | not closed | lost | refused | open | trainer MB "
    "| files | threads | browser MB | browsers | processes | folders |"
)
Left = tuple[int, int, int]


def left(folder: Path, wait: float = WAIT) -> Left:
    """Processes of Chromium, other processes, and entries in the temporary folder of a process that has ended."""
    deadline = time.monotonic() + wait
    while any(found := _left(folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def _left(folder: Path) -> Left:
    processes = family()
    browsers = sum(map(_is_browser, processes))
    return browsers, len(processes) - browsers, len(list(folder.iterdir()))


def _is_browser(process: int) -> bool:
    with suppress(OSError):
        return b"chrom" in Path(f"/proc/{process}/cmdline").read_bytes().partition(b"\0")[0]
    return False


def _megabytes(process: int) -> float:
    """What a process has in memory, with its part of what it shares."""
    with suppress(OSError):
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return 0.0


class Trainer:
    """The process that is watched.

    Attributes:
        seen: What has happened since the beginning.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        """Nothing has happened."""
        self.options, self.world = options, WORLDS[options.world]
        self.draw = random.Random(options.seed)
        self.seen: Counter[str] = Counter()
        self.began = time.time()

    def run(self) -> None:
        """Storms, and calm between them."""
        events = [(f"storm {number + 1}", self._storm) for number in range(self.options.storms)]
        if self.options.world != "house":
            events.append(("killed amid a rollout", self._killed))
        with counting() as counts:
            for number, (name, event) in enumerate(events):
                self._calm((number + 1) / (len(events) + 1), counts)
                self._row(name, event, counts)
            self._calm(1.0, counts)
            self._row("all", self._nothing, counts)

    def _calm(self, part: float, counts: Counter[str]) -> None:
        """Rollouts that nobody disturbs, up to a part of all trajectories, or of the time until the end."""
        told, end = time.monotonic(), self.began + part * (self.options.end - self.began)
        while self.seen["trajectories"] < part * self.options.trajectories and time.time() < end:
            if time.monotonic() - told < MINUTE:
                event_loop.run(self._rollouts, None)
            else:
                self._row("calm", self._nothing, counts)
                told = time.monotonic()

    async def _rollouts(self, longest: float | None) -> None:
        """Some at once; each is cancelled at a moment of its own, if there is a longest time."""

        async def one(after: float | None) -> None:
            with anyio.move_on_after(after) as scope:
                await self._rollout()
            self.seen["cancelled"] += scope.cancelled_caught

        async with anyio.create_task_group() as tasks:
            for _ in range(self.options.rollouts):
                self.seen["rollouts"] += 1
                tasks.start_soon(one, longest and self.draw.uniform(0.02, 1.0) * longest)

    async def _rollout(self) -> None:
        ended = await rollout(self.world, self.draw, self.options.k)
        self.seen["trajectories"] += ended

    async def _nothing(self) -> None:
        """Happens."""

    async def _storm(self) -> None:
        await self._rollouts(self.options.seconds)

    async def _killed(self) -> None:
        """A rollout amid which the processes of its worlds are killed."""
        self.seen["rollouts"] += 1
        growing = asyncio.create_task(self._rollout())
        while await self.world.open() < 2:
            await asyncio.sleep(0.05)
        await asyncio.sleep(self.draw.uniform(0.0, 0.5))
        for process in await asyncio.to_thread(self.world.processes):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        await growing

    def _row(self, name: str, event: Callable[[], Coroutine[Any, Any, None]], counts: Counter[str]) -> None:
        event_loop.run(event)
        still = event_loop.run(_still_open, self.world)
        self.seen.update({key.removeprefix("environment/"): int(value) for key, value in taken(counts).items()})
        own, seen = Path("/proc/self"), self.seen
        cells: list[object] = [seen[key] for key in ("trajectories", "rollouts", "cancelled", "opened")]
        cells += [seen["opened"] - seen["closed"], seen["lost"], seen["refused"], still]
        cells += [f"{_megabytes(os.getpid()):.0f}", *(len(list((own / each).iterdir())) for each in ("fd", "task"))]
        cells.append(f"{sum(_megabytes(process) for process in family() if _is_browser(process)):.0f}")
        print(f"| {name} | {datetime.now(UTC):%H:%M:%S} | {' | '.join(map(str, cells))} | | | |", flush=True)


async def _still_open(world: World) -> int:
    """What stays open: a page that was being opened when its rollout was cancelled is closed a moment later."""
    with anyio.move_on_after(WAIT):
        while await world.open():
            await anyio.sleep(0.1)
    return await world.open()


async def rollout(world: World, draw: random.Random, k: int) -> int:
    """Grow the groups of a few questions; gives the number of their trajectories."""
    groups, _ = await grown(world.task(draw), world.policy, EntropyBranching(k, BRANCHY), world.calls)
    return sum(len(group.tree.leaves) for group in groups)


def endless(options: argparse.Namespace) -> None:
    """Rollouts without end; it says when worlds are open."""
    world, draw = WORLDS[options.world], random.Random(options.seed)

    async def forever() -> None:
        while True:
            await rollout(world, draw, options.k)

    async def grow() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(options.rollouts):
                tasks.start_soon(forever)
            while options.world != "house" and await world.open() < 2 * options.rollouts:
                await anyio.sleep(0.05)
            print("open", flush=True)
            await anyio.sleep_forever()

    event_loop.run(grow)


def given() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", choices=WORLDS, default="browser")
    parser.add_argument("--trajectories", type=int, default=0)
    parser.add_argument("--until", default="", help="time of day, UTC, such as 16:10")
    parser.add_argument("--storms", type=int, default=6)
    parser.add_argument("--rollouts", type=int, default=4)
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inside", choices=["storms", "endless"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.end = float("inf")
    if options.until:
        now = datetime.now(UTC)
        end = datetime.combine(now.date(), datetime.strptime(options.until, "%H:%M").time(), UTC)
        options.end = (end if end > now else end + timedelta(days=1)).timestamp()
    return options


def main() -> None:
    """Print the table."""
    options = given()
    if options.inside:
        return Trainer(options).run() if options.inside == "storms" else endless(options)
    # Processes whose parent has ended become children of this one, so that all that is left is seen.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    print(f"{HEAD}\n{'|---' * (HEAD.count('|') - 1)}|", flush=True)
    for name, what in (("end of that process", "storms"), ("trainer killed amid rollouts", "endless")):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "benchmarks.world_storms", *sys.argv[1:], "--inside", what]
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
            now = f"{datetime.now(UTC):%H:%M:%S}"
            print(f"| {name} (exit {process.returncode}) | {now} |{' |' * 12} {counts} |", flush=True)


if __name__ == "__main__":
    main()
