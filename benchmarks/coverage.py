"""How often 95 % intervals hold the true value, with few seeds: resampling, and Student's quantiles.

Simulated comparisons: a question's and a seed's hardness, and that of both together, are drawn from normal
distributions (log-odds); 150 questions, five samples each. "Seeds" says how much seeds differ: not at all, as in
docs/results-2026-11.md, or more. The second table draws nine methods that all equal the first, and counts the
comparisons in which one is called better or worse.

    python benchmarks/coverage.py --repetitions 1000
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aepo.comparison.statistics import Cells, uncertain
from aepo.evaluation.intervals import CHANCE

QUESTIONS, SAMPLES, RESAMPLES, METHODS = 150, 5, 1000, 9
SEEDS = (2, 3, 5)
EASY = 0.3
"""Log-odds of the mean question."""


@dataclass(frozen=True)
class World:
    """Standard deviations of log-odds.

    Attributes:
        name: For the table.
        seed: Between seeds.
        question: Between questions.
        both: Of a seed on a question.
    """

    name: str
    seed: float
    question: float
    both: float


# Means of seeds differ by about 0, 3 and 8 points.
WORLDS = (World("alike", 0.0, 1.0, 0.3), World("3 points", 0.15, 1.0, 0.3), World("8 points", 0.4, 1.0, 0.3))

Limits = Callable[[Cells, float], tuple[float, float]]


def resampled(rng: np.random.Generator) -> Limits:
    """The bootstrap: seeds and questions drawn with replacement, deviations stretched by sqrt(n / (n - 1))."""

    def drawn(deviations: np.ndarray) -> np.ndarray:
        size = deviations.size
        counts = rng.multinomial(size, [1 / size] * size, RESAMPLES)
        return (counts @ deviations) / size * math.sqrt(size / (size - 1))

    def limits(cells: Cells, least: float) -> tuple[float, float]:
        mean = cells.mean()
        means = mean + drawn(cells.mean(axis=1) - mean) + drawn(cells.mean(axis=0) - mean)
        low, high = np.clip(np.quantile(means, [CHANCE / 2, 1 - CHANCE / 2]), least, 1.0)
        return float(low), float(high)

    return limits


def student(cells: Cells, least: float) -> tuple[float, float]:
    """As `aepo compare` has it."""
    return uncertain(cells, least).limits()


def measured(rng: np.random.Generator, world: World, seeds: int, hard: np.ndarray) -> Cells:
    """Success of a method whose questions are this hard, but for what is its own."""
    own = rng.normal(0, world.seed, (seeds, 1)) + rng.normal(0, world.both, (seeds, hard.size))
    return rng.binomial(SAMPLES, 1 / (1 + np.exp(-(EASY + hard + own)))) / SAMPLES


def true_success(world: World) -> float:
    """The mean over all seeds and questions, by integration."""
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    spread = math.hypot(world.seed, world.question, world.both)
    return float(weights @ (1 / (1 + np.exp(-(EASY + spread * points)))) / weights.sum())


def coverage(repetitions: int, rng: np.random.Generator) -> None:
    """The first table."""
    ways: dict[str, Limits] = {"resampling": resampled(rng), "Student": student}
    print("| seeds | they differ by | " + " | ".join(f"{name}: covers | width, points" for name in ways) + " |")
    print("|---:|---|" + "---:|---:|" * len(ways))
    for seeds in SEEDS:
        for world in WORLDS:
            truth, found = true_success(world), {name: np.zeros((repetitions, 2)) for name in ways}
            for at in range(repetitions):
                cells = measured(rng, world, seeds, rng.normal(0, world.question, (1, QUESTIONS)))
                for name, limits in ways.items():
                    low, high = limits(cells, 0.0)
                    found[name][at] = low <= truth <= high, high - low
            told = " | ".join(f"{100 * c:.1f} % | {100 * w:.0f}" for c, w in (x.mean(axis=0) for x in found.values()))
            print(f"| {seeds} | {world.name} | {told} |", flush=True)


def false_alarms(repetitions: int, rng: np.random.Generator) -> None:
    """The second table."""
    before = resampled(rng)
    print(f"| seeds | they differ by | resampling | Student | Student, corrected for {METHODS} |")
    print("|---:|---|---:|---:|---:|")
    for seeds in SEEDS:
        for world in WORLDS:
            alarms = np.zeros((repetitions, 3))
            for at in range(repetitions):
                hard = rng.normal(0, world.question, (1, QUESTIONS))
                first = measured(rng, world, seeds, hard)
                for _ in range(METHODS):
                    cells = measured(rng, world, seeds, hard) - first
                    one = uncertain(cells, -1.0)
                    # Holm calls one different exactly if the smallest p is at most 0.05 / n.
                    for way, (low, high) in enumerate(
                        (before(cells, -1.0), one.limits(), one.limits(CHANCE / METHODS))
                    ):
                        alarms[at, way] = max(alarms[at, way], low > 0 or high < 0)
            print(f"| {seeds} | {world.name} | " + " | ".join(f"{100 * x:.0f} %" for x in alarms.mean(axis=0)) + " |")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    coverage(options.repetitions, rng)
    print()
    false_alarms(options.repetitions // 4, rng)


if __name__ == "__main__":
    main()
