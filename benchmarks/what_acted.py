"""What each mechanism did in the runs of a comparison, and whether the calls saved are those that arithmetic predicts.

Means over the steps of a run, then over seeds. With mu = m / k, the share L of the other slots that nobody branched
into, d the observations that a branch inherits and T those of a trajectory, executed calls over called ones should be

    mu + (1 - mu) (L + (1 - L) (1 - d / T))

Where the runs' trees are kept, also what became of trajectories by how uncertain the policy was after a tool's result,
and policy entropy by what is counted: distinct tokens of trees, as the metrics do, have fewer of the sure beginnings
the more a method branches; trajectories that began at the question are the same for all.

    python benchmarks/what_acted.py runs/compare-atlas
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from aepo.config import load
from aepo.runs.metrics import read_metrics
from aepo.types import Group, Kind, Origin
from aepo.viewer import read_trees

WINDOW, PARTS = 20, 10

Steps = Sequence[Mapping[str, Any]]


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("comparison", type=Path, help="its folder")
    options = parser.parse_args()
    runs: dict[str, list[tuple[int, Steps]]] = defaultdict(list)
    for folder in sorted((options.comparison / "runs").iterdir()):
        steps = [row for row in read_metrics(folder / "metrics.jsonl") if "budget/trajectories" in row]
        label = folder.name.rpartition("-seed-")[0]
        runs[label].append((load(folder / "config.yaml").algorithm.group_size, steps))
    print(table("rollout", runs, ROLLOUT, only=lambda steps: mean(steps, "branch/share") > 0))
    print()
    print(table("learning", runs, LEARNING, only=lambda steps: True))
    found = {label: after_results(options.comparison, label) for label in runs}
    print("\n" + parts({label: pairs for label, pairs in found.items() if len(pairs) >= PARTS}))
    print("\n" + counted({label: mean_entropies(options.comparison, label) for label in runs}))


def kept(comparison: Path, label: str) -> Iterator[tuple[int, list[Group]]]:
    """Each step of which trees were kept, by run, and its groups."""
    for folder in sorted((comparison / "runs").glob(f"{label}-seed-*")):
        for file in sorted((folder / "trees").glob("step-*.jsonl.gz")):
            yield int(file.name.split(".")[0].removeprefix("step-")), [record.group for record in read_trees(file)]


def after_results(comparison: Path, label: str) -> list[tuple[float, float]]:
    """Mean entropy of the first tokens after each tool result of each trajectory, and the trajectory's reward."""
    found = []
    for _, groups in kept(comparison, label):
        for trajectory in (one for group in groups for one in group.trajectories()):
            if trajectory.reward is not None:
                written = (
                    [entropy for _, entropy in run][:WINDOW]
                    for own, run in groupby(
                        zip(trajectory.loss_mask, trajectory.entropies, strict=True), lambda at: at[0]
                    )
                    if own
                )
                found += [(fmean(entropies), trajectory.reward) for entropies in list(written)[1:]]
    return found


def mean_entropies(comparison: Path, label: str) -> dict[int, list[tuple[float, float]]]:
    """By step, a pair a run: mean entropy of the trees' distinct tokens, and of trajectories begun at the question."""
    found = defaultdict(list)
    for step, groups in kept(comparison, label):
        distinct = [
            e for group in groups for node in group.tree.nodes if node.kind is Kind.POLICY for e in node.entropies
        ]
        whole = [
            entropy
            for group in groups
            for leaf, trajectory in zip(group.tree.leaves, group.trajectories(), strict=True)
            if leaf.origin is not Origin.BRANCH
            for own, entropy in zip(trajectory.loss_mask, trajectory.entropies, strict=True)
            if own
        ]
        found[step].append((fmean(distinct), fmean(whole)))
    return found


def counted(found: Mapping[str, Mapping[int, Sequence[tuple[float, float]]]]) -> str:
    """A line an entry, a pair of columns a step."""
    steps = sorted({step for of_label in found.values() for step in of_label})
    heads = [f"step {step}, {what}" for step in steps for what in ("distinct tokens", "from the question")]
    lines = ["| entropy, nats | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    for label, of_label in found.items():
        pairs = [zip(*of_label[step], strict=True) if step in of_label else ((), ()) for step in steps]
        cells = [f"{fmean(values):.3f}" if values else "-" for pair in pairs for values in pair]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def parts(found: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """A line for each tenth of the results, the most uncertain first: its entropies, in nats, and the mean reward."""
    lines = ["| after results | " + " | ".join(found) + " |", "|---|" + "---:|" * len(found)]
    for at in range(PARTS):
        cells = []
        for pairs in found.values():
            ranked = sorted(pairs, reverse=True)
            own = ranked[len(ranked) * at // PARTS : len(ranked) * (at + 1) // PARTS]
            cells.append(f"{fmean(reward for _, reward in own):.2f} ({own[-1][0]:.2f} to {own[0][0]:.2f})")
        lines.append(f"| tenth {at + 1} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mean(steps: Steps, metric: str) -> float:
    """Over the steps that have it; NaN if none has."""
    found = [float(row[metric]) for row in steps if row.get(metric) is not None]
    return fmean(found) if found else float("nan")


def first_share(steps: Steps) -> float:
    """Share of the branches that start at a trajectory's first observation."""
    found: Counter[str] = Counter()
    for row in steps:
        found.update(row.get("branch/depth_histogram") or {})
    return found["1"] / found.total() if found else float("nan")


def predicted(k: int, steps: Steps) -> float:
    """Executed calls over called ones, from m, L, d and T."""
    mu = mean(steps, "budget/m_mean") / k
    left = mean(steps, "branch/leftover_share") / (1 - mu)
    inherited = mean(steps, "branch/depth_mean") / mean(steps, "tool/calls_per_trajectory")
    return mu + (1 - mu) * (left + (1 - left) * (1 - inherited))


Column = tuple[str, Callable[[int, Steps], float], str]


def metric(head: str, name: str, form: str) -> Column:
    """A column that is a metric's mean."""
    return head, lambda _, steps: mean(steps, name), form


ROLLOUT: list[Column] = [
    metric("m", "budget/m_mean", ".2f"),
    metric("branches", "branch/share", ".2f"),
    metric("left over", "branch/leftover_share", ".2f"),
    ("at the first observation", lambda _, steps: first_share(steps), ".2f"),
    metric("on three paths", "branch/top3_share", ".2f"),
    metric("stopped by tau", "branch/stopped_by/threshold", ".2f"),
    metric("by the penalty", "branch/stopped_by/penalty", ".2f"),
    metric("reward of branches at low entropy", "branch/success_low_entropy", ".2f"),
    metric("at high entropy", "branch/success_high_entropy", ".2f"),
    ("calls executed / called", lambda _, steps: 1 - mean(steps, "tool/saved_share"), ".3f"),
    ("predicted", predicted, ".3f"),
]
LEARNING: list[Column] = [
    metric("H_root", "entropy/root", ".3f"),
    metric("H_tool", "entropy/after_tool", ".3f"),
    metric("groups with a spread of rewards", "group/spread_share", ".2f"),
    metric("distinct queries a trajectory", "group/distinct_queries", ".2f"),
    metric("clipped below", "clip/low_fraction", ".4f"),
    metric("clipped above", "clip/high_fraction", ".4f"),
    metric("sharing", "train/sharing", ".2f"),
    metric("stopped by the limit on calls", "stop/tool_limit", ".3f"),
]


def table(
    name: str, runs: Mapping[str, Sequence[tuple[int, Steps]]], columns: Sequence[Column], only: Callable[[Steps], bool]
) -> str:
    """A line an entry."""
    lines = [f"| {name} | seeds | " + " | ".join(head for head, _, _ in columns) + " |"]
    lines.append("|---|" + "---:|" * (len(columns) + 1))
    for label, of_label in runs.items():
        own = [(k, steps) for k, steps in of_label if steps and only(steps)]
        if own:
            cells = [f"{fmean(value(k, steps) for k, steps in own):{form}}" for _, value, form in columns]
            lines.append(f"| {label} | {len(own)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
