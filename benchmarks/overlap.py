"""What `rollout.overlap` gives where a tool has a slow tail: seconds a step with 0, 2, 4, ... groups left to the next.

The packaged model learns `atlas` by GRPO; one search in `--every` takes `--seconds` longer. Each run begins with the
same weights and questions; the runs take turns. Medians over the steps between the first and the last two, which are
not like the others: the first trains on fewer groups, the last on more.

    python benchmarks/overlap.py --seconds 5 --every 150                  # about ten minutes
"""

from __future__ import annotations

import argparse
import inspect
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import anyio

from aepo import api, config
from aepo.runs.metrics import read_metrics
from aepo.tasks.atlas import atlas
from aepo.tools.base import Tool

SHOWN = ("time/step", "time/rollout", "overlap/stale_share", "logprobs/rollout_difference_mean", "reward/mean")


def with_a_tail(given: Tool, every: int, seconds: float) -> Tool:
    """The tool, one call in `every` of which sleeps first."""
    numbers: Iterator[int] = itertools.count(1)

    async def function(**arguments: Any) -> Any:
        if next(numbers) % every == 0:
            await anyio.sleep(seconds)
        result = given.function(**arguments)
        return await result if inspect.isawaitable(result) else result

    return replace(given, function=function, inline=False, timeout=given.timeout + seconds)


def run(overlap: int, options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """The metrics of a run's steps."""
    settings = config.load(
        "quickstart",
        [
            f"run={folder}",
            "algorithm.name=grpo",
            f"train.steps={options.steps}",
            f"train.threads={options.threads}",
            "train.trackers=[]",
            f"rollout.overlap={overlap}",
            "evaluation.questions=8",
        ],
    )
    task = atlas(size=2000, held_out=20)
    tools = [with_a_tail(t, options.every, options.seconds) if t.name == "search" else t for t in task.tools]
    api.train_task(settings, replace(task, tools=tools))
    return [row for row in read_metrics(folder / "metrics.jsonl") if "reward/mean" in row]


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--overlap", type=int, nargs="+", default=[0, 2, 4, 8], help="groups of 32")
    parser.add_argument("--seconds", type=float, default=5.0, help="that a slow search takes longer")
    parser.add_argument("--every", type=int, default=150, help="one search in so many is slow")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    taken: dict[int, list[dict[str, Any]]] = {overlap: [] for overlap in options.overlap}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.repetitions):
            for overlap in options.overlap:
                taken[overlap] += run(overlap, options, Path(folder) / f"{overlap}-{number}")[1:-2]
    print(
        f"one search in {options.every} takes {options.seconds} s longer; "
        f"{options.repetitions} x {options.steps} steps of 32 questions x 8, {options.threads} thread(s)"
    )
    print(
        f"{'overlap':>8}" + "".join(f"{name:>36}" for name in SHOWN) + f"{'of overlap ' + str(options.overlap[0]):>16}"
    )
    first = median(row["time/step"] for row in taken[options.overlap[0]])
    for overlap, rows in taken.items():
        values = [[row.get(name, 0.0) for row in rows] for name in SHOWN]
        cells = [median(v) if name.startswith("time/") else fmean(v) for name, v in zip(SHOWN, values, strict=True)]
        print(f"{overlap:8d}" + "".join(f"{cell:36.4g}" for cell in cells) + f"{cells[0] / first:16.2f}")


if __name__ == "__main__":
    main()
