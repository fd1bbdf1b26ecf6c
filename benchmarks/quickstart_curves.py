"""Table and figure of quickstart runs: AEPO beside GRPO, all seeds.

for a in aepo grpo; do for s in 0 1 2; do
aepo train quickstart algorithm.name=$a seed=$s run=runs/$a-$s
done; done
python benchmarks/quickstart_curves.py runs/aepo-* runs/grpo-* --figure docs/quickstart.png
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import yaml

from aepo.runs.metrics import read_metrics

COLOURS = {"aepo": "#0072B2", "grpo": "#D55E00"}  # Okabe and Ito: told apart by the colour-blind
SMOOTH = 7


@dataclass
class RunRows:
    """One run's metrics.

    Attributes:
        algorithm: Its name.
        seed: Its seed.
        steps: Rows of training steps.
        before: The first evaluation.
        after: The last one.
    """

    algorithm: str
    seed: int
    steps: list[dict[str, Any]]
    before: dict[str, Any]
    after: dict[str, Any]

    def total(self, name: str) -> float:
        """Sum of a metric over the steps."""
        return sum(row.get(name, 0.0) for row in self.steps)

    def mean(self, name: str, rows: Sequence[dict[str, Any]] | None = None) -> float:
        """Mean of a metric over some steps, all by default."""
        return fmean(row[name] for row in rows or self.steps if name in row)

    def counts(self, name: str) -> Counter[int]:
        """Sum of a histogram over the steps."""
        return sum((Counter({int(k): v for k, v in row[name].items()}) for row in self.steps), Counter())


def read(folder: Path) -> RunRows:
    """Read a run folder."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    rows = read_metrics(folder / "metrics.jsonl")
    evaluations = [row for row in rows if "eval/success" in row]
    steps = [row for row in rows if "reward/mean" in row]
    return RunRows(config["algorithm"]["name"], config["seed"], steps, evaluations[0], evaluations[-1])


def table(runs: Sequence[RunRows]) -> str:
    """A Markdown table, one line a run and one mean line an algorithm."""
    head = [
        "run",
        "sampled before",
        "sampled after",
        "greedy before",
        "greedy after",
        "sampled tokens",
        "executed calls",
        "entropy first 10",
        "entropy last 10",
        "branches",
        "m",
        "H_root",
        "H_tool",
        "minutes",
    ]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    groups: dict[str, list[list[float]]] = defaultdict(list)
    for run in runs:
        values = [
            run.before["eval/success"],
            run.after["eval/success"],
            run.before["eval/greedy"],
            run.after["eval/greedy"],
            run.total("tokens/sampled"),
            run.total("tool/executed_calls"),
            run.mean("entropy/policy", run.steps[:10]),
            run.mean("entropy/policy", run.steps[-10:]),
            run.mean("branch/share"),
            run.mean("budget/m_mean"),
            run.mean("entropy/root"),
            run.mean("entropy/after_tool"),
            run.total("time/step") / 60,
        ]
        groups[run.algorithm].append(values)
        lines.append(f"| {run.algorithm}, seed {run.seed} | {_cells(values)} |")
    for name, rows in groups.items():
        lines.append(f"| **{name}, mean** | {_cells([fmean(column) for column in zip(*rows, strict=True)])} |")
    return "\n".join(lines)


def budgets(runs: Sequence[RunRows]) -> str:
    """A Markdown table: the share of questions that began with m global samples, over a whole run that branches."""
    counts = {
        f"{run.algorithm}, seed {run.seed}": run.counts("budget/m_histogram")
        for run in runs
        if run.mean("branch/share") > 0
    }
    every = sorted({m for count in counts.values() for m in count})
    lines = ["| m | " + " | ".join(map(str, every)) + " |", "|---" * (len(every) + 1) + "|"]
    for name, count in counts.items():
        shares = [f"{count[m] / count.total():.0%}" for m in every]
        lines.append(f"| {name} | {' | '.join(shares)} |")
    return "\n".join(lines)


def _cells(values: Sequence[float]) -> str:
    return " | ".join(f"{v:,.0f}" if v >= 1000 else f"{v:.2f}" for v in values)


def smooth(values: Sequence[float]) -> list[float]:
    """Mean over the last `SMOOTH` values."""
    return [fmean(values[max(0, i - SMOOTH + 1) : i + 1]) for i in range(len(values))]


def figure(runs: Sequence[RunRows], path: Path) -> None:
    """Success by step and by executed calls, policy entropy by step."""
    plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    drawn, axes = plt.subplots(1, 3, figsize=(12, 3.6), constrained_layout=True)
    seen: set[str] = set()
    for run in runs:
        colour = COLOURS.get(run.algorithm, "#666666")
        label = run.algorithm.upper() if run.algorithm not in seen else None
        seen.add(run.algorithm)
        steps = [row["step"] for row in run.steps]
        success = smooth([row["success/mean"] for row in run.steps])
        calls: list[float] = []
        for row in run.steps:
            calls.append((calls[-1] if calls else 0.0) + row["tool/executed_calls"])
        axes[0].plot(steps, success, color=colour, lw=1.4, alpha=0.85, label=label)
        axes[1].plot(calls, success, color=colour, lw=1.4, alpha=0.85)
        axes[2].plot(steps, smooth([row["entropy/policy"] for row in run.steps]), color=colour, lw=1.4, alpha=0.85)
    for axis in axes[:2]:
        axis.set_ylabel("success of sampled trajectories")
        axis.set_ylim(0, 1)
    axes[0].set_xlabel("training step")
    axes[1].set_xlabel("executed tool calls")
    axes[1].xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value else "0")
    axes[2].set_xlabel("training step")
    axes[2].set_ylabel("policy entropy (nats per token)")
    axes[2].set_ylim(bottom=0)
    axes[0].legend(frameon=False, loc="upper left")
    for axis in axes:
        axis.grid(alpha=0.25, lw=0.6)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, dpi=130)
    plt.close(drawn)


def main() -> None:
    """Print the table, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    runs = sorted((read(folder) for folder in options.runs), key=lambda run: (run.algorithm, run.seed))
    print(table(runs), budgets(runs), sep="\n\n")
    if options.figure:
        figure(runs, options.figure)


if __name__ == "__main__":
    main()
