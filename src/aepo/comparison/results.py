"""Reads the results of finished runs from their folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

from aepo.comparison.plan import Plan, PlannedRun
from aepo.evaluation.outcomes import Outcome, read_outcomes
from aepo.runs.folder import RunFolder


@dataclass(frozen=True)
class Result:
    """One finished run.

    Attributes:
        label: The entry's label.
        seed: The run's seed.
        before: The outcome of each question before training.
        after: The outcome of the same questions after training.
        steps: Metrics of the training steps, in order.
        evaluations: Metrics of the evaluations, in order; each has the `budget/*` that had been used by then.
    """

    label: str
    seed: int
    before: Sequence[Outcome]
    after: Sequence[Outcome]
    steps: Sequence[Mapping[str, Any]]
    evaluations: Sequence[Mapping[str, Any]]

    def used(self, kind: str) -> float:
        """The amount that training used in all, of "trajectories", "tokens_sampled" or "executed_calls"."""
        return float(self.steps[-1][f"budget/{kind}"]) if self.steps else 0.0

    @property
    def seconds(self) -> float:
        """Seconds of all training steps, without evaluations and checkpoints."""
        return fsum(row["time/step"] for row in self.steps)


def by_entry(plan: Plan, results: Sequence[Result]) -> dict[str, list[Result]]:
    """The results of each entry by its label, in the plan's order."""
    return {label: [result for result in results if result.label == label] for label in plan.labels}


def read(run: PlannedRun) -> Result:
    """Read a finished run's results; ValueError names a file that is missing or broken."""
    folder = RunFolder(run.folder)
    steps = folder.steps()
    used: dict[int, dict[str, float]] = {0: {}}
    for row in steps:
        used[row["step"]] = {name: value for name, value in row.items() if name.startswith("budget/")}
    evaluations = [{**used[row["step"]], **row} for row in folder.evaluations()]
    before, after = (read_outcomes(folder, step) for step in (0, steps[-1]["step"] if steps else 0))
    return Result(run.label, run.seed, before, after, steps, evaluations)
