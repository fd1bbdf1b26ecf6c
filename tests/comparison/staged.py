"""Comparisons of the tiny model, and runs whose outcomes are set by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anyio

import aepo
from aepo.comparison.results import Result
from aepo.evaluation.outcomes import Attempt, Outcome
from tests import tiny
from tests.environments.test_runs import Letters


def settings(folder: Path, model: Path, *overrides: str) -> list[str]:
    """Overrides of a comparison of which a run takes about a second."""
    own = [text for text in tiny.settings(Path("unused"), model, "train.steps=2") if not text.startswith("run=")]
    return [f"folder={folder}", *own, *overrides]


def outcome(name: str, solved: Sequence[int], greedy: int | None = 1) -> Outcome:
    """A question with samples that are right (1) or not (0)."""
    attempts = tuple(Attempt(float(right), "a") for right in solved)
    return Outcome(name, attempts, None if greedy is None else Attempt(float(greedy), "a"))


def result(label: str, seed: int, solved: Sequence[Sequence[int]], calls: int = 100, steps: int = 2) -> Result:
    """A finished run; before training it solved nothing."""
    rows = [
        {
            "step": n,
            "budget/trajectories": 10.0 * n,
            "budget/tokens_sampled": 50.0 * n,
            "budget/executed_calls": calls * n / steps,
            "time/step": 1.5,
        }
        for n in range(1, steps + 1)
    ]
    after = [outcome(f"q{number}", samples) for number, samples in enumerate(solved)]
    before = [outcome(f"q{number}", [0] * len(samples), 0) for number, samples in enumerate(solved)]
    return Result(label, seed, before, after, rows, [])


def worlds() -> aepo.Task:
    """Questions that are asked in an environment."""
    questions = tiny.samples(7)
    made = aepo.environment(Letters, max_open=12)
    return aepo.Task("worlds", questions[:5], held_out=questions[5:], system="", environment=made)


def gated(gate: str) -> aepo.Task:
    """The tiny task, whose tool waits while the file `gate` exists, and says so in the file `gate`.here."""

    @aepo.tool(timeout=600)
    async def search(query: str) -> str:
        """Look something up.

        Args:
            query: What to look up.
        """
        while Path(gate).exists():
            Path(f"{gate}.here").touch()
            await anyio.sleep(0.01)
        return query[::-1][:4]

    return replace(tiny.letters(), tools=[search])
