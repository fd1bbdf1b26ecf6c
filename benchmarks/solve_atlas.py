"""Success by vote against executed tool calls, on `atlas`: flat sampling, ARPO's rule and AEPO's rule.

Every question is solved as `aepo solve` does, with a budget of trajectories; the engine is shared by several questions
at a time. A cell is one question under one seed: 1 if the voted answer is right. Intervals are those of `aepo compare`
(95 %, over seeds and questions); differences to flat sampling are paired at equal trajectories.

Equal trajectories are not equal calls, since branches share calls. So the figure has calls on its axis, and `at_calls`
in the JSON compares each rule with flat sampling at the calls that the rule used, between flat sampling's neighbouring
budgets (straight lines between them).

    python benchmarks/solve_atlas.py --seeds 5 --questions 150 --out benchmarks/results/solve_atlas
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import torch

import aepo
from aepo import config as configuration
from aepo.algorithms import AEPO, ARPO, GRPO, Algorithm
from aepo.assembly.policies import load_policy
from aepo.comparison.figures import HEIGHT, LEGEND_WIDTH, WIDTH, looks_of, save
from aepo.comparison.statistics import cost, difference, holm, success
from aepo.equipment.agents import agents
from aepo.evaluation.intervals import Interval
from aepo.rewards.answer import exact_match
from aepo.rollout.agent import Agent
from aepo.solving.budget import SolvingBudget
from aepo.solving.loop import Means, Solving
from aepo.types import Sample

AT_ONCE = 16


@dataclass(frozen=True)
class Cell:
    """One question under one seed, rule and budget."""

    rule: str
    trajectories: int
    seed: int
    question: str
    right: float
    calls: int
    tokens: int


def rules(group_size: int) -> dict[str, Algorithm]:
    """What is compared, under the names of the figure."""
    return {
        "flat sampling": GRPO(group_size=group_size),
        "ARPO's rule": ARPO(group_size=group_size),
        "AEPO's rule": AEPO(group_size=group_size),
    }


async def solve_all(
    name: str,
    algorithm: Algorithm,
    agent: Agent,
    vocabulary: int,
    asked: Sequence[Sample],
    trajectories: int,
    seed: int,
) -> list[Cell]:
    """Every question by vote over so many trajectories."""
    cells: list[Cell] = []
    places = anyio.CapacityLimiter(AT_ONCE)

    async def one(sample: Sample) -> None:
        async with places:
            means = Means(
                agent=agent,
                algorithm=algorithm,
                state=algorithm.exploration().initial_state(vocabulary),
                budget=SolvingBudget(trajectories=trajectories),
                seed=seed,
            )
            solution = await Solving(sample, means).run()
        right = exact_match(solution.answer or "", sample.target)
        spent = solution.spent
        cells.append(Cell(name, trajectories, seed, sample.id, right, spent.calls, spent.tokens))

    async with agent.generator, anyio.create_task_group() as tasks:
        for sample in asked:
            tasks.start_soon(one, sample)
    order = {sample.id: place for place, sample in enumerate(asked)}
    return sorted(cells, key=lambda cell: order[cell.question])


def run(seeds: int, questions: int, budgets: Sequence[int], group_size: int, sandbox: str | None) -> list[Cell]:
    """All cells."""
    policy = load_policy("atlas")
    task = aepo.atlas(size=1, held_out=questions, split="test", seed=1, sandbox=sandbox)
    asked = list(task.held_out)
    cells: list[Cell] = []
    for name, algorithm in rules(group_size).items():
        settings = configuration.Config(algorithm=algorithm)
        settings = settings.model_copy(
            update={"rollout": settings.rollout.model_copy(update={"max_tokens": 256, "max_sequences": 256})}
        )
        agent, _ = agents(policy, task, settings, asked)
        for seed in range(seeds):
            for trajectories in budgets:
                began = time.perf_counter()
                cells += anyio.run(solve_all, name, algorithm, agent, len(policy.tokenizer), asked, trajectories, seed)
                took = time.perf_counter() - began
                print(f"{name}, seed {seed}, {trajectories} trajectories: {took:.0f} s", flush=True)
    return cells


def table(cells: Sequence[Cell], values: str, rule: str, trajectories: int) -> np.ndarray[Any, Any]:
    """(seeds, questions) of one rule and budget."""
    found = [cell for cell in cells if cell.rule == rule and cell.trajectories == trajectories]
    seeds = sorted({cell.seed for cell in found})
    return np.array([[getattr(cell, values) for cell in found if cell.seed == seed] for seed in seeds], dtype=float)


def figures(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """A row a rule and budget."""
    names = list(dict.fromkeys(cell.rule for cell in cells))
    budgets = sorted({cell.trajectories for cell in cells})
    flat = [
        (float(table(cells, "calls", names[0], one).mean()), float(table(cells, "right", names[0], one).mean()))
        for one in budgets
    ]
    against = {
        (name, one): difference(table(cells, "right", name, one), table(cells, "right", names[0], one))
        for name in names[1:]
        for one in budgets
    }
    corrected = dict(zip(against, holm([one.p for one in against.values()]), strict=True))
    rows = []
    for name in names:
        for trajectories in budgets:
            right = table(cells, "right", name, trajectories)
            calls = table(cells, "calls", name, trajectories)
            at = (name, trajectories)
            versus = replace(against[at], p=corrected[at]) if at in against else None
            at_calls = float(np.interp(calls.mean(), [x for x, _ in flat], [y for _, y in flat]))
            rows.append(
                {
                    "rule": name,
                    "trajectories": trajectories,
                    "success": asdict(success(right)),
                    "calls": asdict(cost(calls.mean(axis=1).tolist())),
                    "tokens": asdict(cost(table(cells, "tokens", name, trajectories).mean(axis=1).tolist())),
                    "difference_to_flat": None if versus is None else {**asdict(versus), "verdict": versus.verdict},
                    "at_calls": None if versus is None else {"flat": at_calls, "difference": right.mean() - at_calls},
                }
            )
    return rows


def draw(rows: Sequence[dict[str, Any]], folder: Path) -> None:
    """Success with its intervals against mean calls, as PNG and SVG; intervals of calls are in the JSON."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["rule"] for row in rows))
    looks = looks_of(names)
    figure = Figure(figsize=(WIDTH + LEGEND_WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    for name in names:
        own = [row for row in rows if row["rule"] == name]
        x, y = ([Interval(**row[what]) for row in own] for what in ("calls", "success"))
        look = looks[name]
        axes.errorbar(
            [one.mean for one in x],
            [one.mean for one in y],
            yerr=_lengths(y),
            color=look.colour,
            linestyle=look.style,
            marker=look.marker,
            markersize=5,
            lw=1.6,
            elinewidth=0.8,
            capsize=2,
            label=name,
        )
    shown = [row for row in rows if row["rule"] == names[0]]
    for row in shown:
        place = (row["calls"]["mean"], row["success"]["mean"])
        text = f"{row['trajectories']}"
        axes.annotate(text, place, textcoords="offset points", xytext=(5, -11), fontsize=8, color="0.35")
    axes.set_xlabel("executed tool calls (mean a question); numbers: trajectories of flat sampling")
    axes.set_ylabel("questions answered right by vote (%)")
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, lw=0.6)
    axes.set_axisbelow(True)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, handlelength=3.2)
    save(figure, folder, "solve_atlas")


def _lengths(intervals: Sequence[Interval]) -> list[list[float]]:
    """Below and above the mean; none where there is too little for an interval."""
    below = [one.mean - one.low for one in intervals]
    above = [one.high - one.mean for one in intervals]
    return [[max(0.0, value) if value == value else 0.0 for value in side] for side in (below, above)]


def main() -> None:
    """Measure, write figures, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--questions", type=int, default=150)
    parser.add_argument("--budgets", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--group-size", type=int, default=8, help="the largest round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sandbox", help="as the option of atlas")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/solve_atlas"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cells = run(options.seeds, options.questions, options.budgets, options.group_size, options.sandbox)
    rows = figures(cells)
    options.out.mkdir(parents=True, exist_ok=True)
    kept = {"seeds": options.seeds, "questions": options.questions, "group_size": options.group_size, "rows": rows}
    (options.out / "figures.json").write_text(json.dumps(kept, indent=1, allow_nan=True) + "\n", encoding="utf-8")
    with (options.out / "cells.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(cell)) + "\n" for cell in cells)
    print("\n| rule | trajectories | success % [95 %] | calls | difference to flat, points | flat at these calls % |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        right, versus, level = row["success"], row["difference_to_flat"], row["at_calls"]
        shown = f"{100 * right['mean']:.1f} [{100 * right['low']:.1f}, {100 * right['high']:.1f}]"
        paired = (
            ""
            if versus is None
            else f"{100 * versus['mean']:+.1f} [{100 * versus['low']:+.1f}, {100 * versus['high']:+.1f}]"
        )
        flat = "" if level is None else f"{100 * level['flat']:.1f}"
        print(f"| {row['rule']} | {row['trajectories']} | {shown} | {row['calls']['mean']:.2f} | {paired} | {flat} |")
    draw(rows, options.out)


if __name__ == "__main__":
    main()
