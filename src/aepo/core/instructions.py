"""The arithmetic of a population of instructions: draw, credit, drop, accept (INSPO, arXiv 2512.01945). No torch.

An instruction has a weight w_j, in units of reward. All functions take one number per instruction, in the order of the
population. The paper gives the form of the draw and of the renewal; the constants and the credit are ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate

from aepo.core.scale import running_mean


def draw_probabilities(weights: Sequence[float], temperature: float, floor: float) -> list[float]:
    """p_j = (1 - floor) softmax(w / temperature)_j + floor / N.

    Args:
        weights: w_j.
        temperature: In units of reward; infinity draws evenly.
        floor: The share that is drawn evenly, in [0, 1].

    Raises:
        ValueError: There are no weights, or `temperature` or `floor` is outside its range.
    """
    if not weights:
        raise ValueError("a population of instructions has at least one: its first is the task's own")
    if not temperature > 0 or not 0 <= floor <= 1:
        raise ValueError(f"temperature is {temperature} and floor is {floor}: they must be above 0, and in [0, 1]")
    most = max(weights)
    powers = [math.exp((weight - most) / temperature) for weight in weights]
    total = math.fsum(powers)
    return [(1 - floor) * power / total + floor / len(weights) for power in powers]


def draw(probabilities: Sequence[float], uniform: float) -> int:
    """The first j whose cumulative probability is above `uniform`, which is in [0, 1)."""
    # Rounding can leave the sum a little below 1.
    return next((j for j, total in enumerate(accumulate(probabilities)) if uniform < total), len(probabilities) - 1)


def step_credit(group_means: Sequence[float]) -> list[float]:
    """x_g = R_g - mean of R over the step's groups.

    Args:
        group_means: R_g, the mean reward of each group.
    """
    mean = math.fsum(group_means) / max(len(group_means), 1)
    return [reward - mean for reward in group_means]


def question_credit(group_means: Sequence[float], last_means: Sequence[float | None]) -> list[float | None]:
    """x_g = d_g - mean d, with d_g = R_g minus the mean reward of the same question's last group.

    It takes off how hard the question is, which is most of the noise.

    Args:
        group_means: R_g, the mean reward of each group.
        last_means: The mean reward of the question's last group; None at its first visit, which gives no credit.
    """
    changes = [None if last is None else mean - last for mean, last in zip(group_means, last_means, strict=True)]
    seen = [change for change in changes if change is not None]
    drift = math.fsum(seen) / max(len(seen), 1)
    return [None if change is None else change - drift for change in changes]


def credited(
    weights: Sequence[float],
    visits: Sequence[int],
    chosen: Sequence[int],
    credits: Sequence[float | None],
    decay: float,
) -> tuple[list[float], list[int]]:
    """Weights and visits after a step: w_j becomes the running mean of j's mean credit, corrected for its start.

    Args:
        weights: w_j.
        visits: The number of earlier steps that gave j credit.
        chosen: The instruction of each group.
        credits: x_g of each group; None gives nothing.
        decay: Weight of the past, in [0, 1).

    Returns:
        An instruction without credit keeps its weight and its visits.
    """
    new_weights, new_visits = list(weights), list(visits)
    for j in set(chosen):
        own = [x for at, x in zip(chosen, credits, strict=True) if at == j and x is not None]
        if own:
            new_visits[j] += 1
            new_weights[j] = running_mean(weights[j], math.fsum(own) / len(own), new_visits[j], decay)
    return new_weights, new_visits


def survivors(weights: Sequence[float], groups: Sequence[int], min_groups: int, keep: int) -> list[int]:
    """The instructions that stay, in order; the worst of those with enough evidence go first.

    Instruction 0 stays, and so does the best one with enough evidence. At equal weights the earlier one stays.

    Args:
        weights: w_j.
        groups: The number of groups that gave j credit.
        min_groups: The evidence that an instruction must have before it may go.
        keep: How many stay; more do if too few may go.
    """
    known = [j for j in range(len(weights)) if groups[j] >= min_groups]
    best = max(known, key=lambda j: (weights[j], -j), default=0)
    may_go = sorted((j for j in known if j not in (0, best)), key=lambda j: (weights[j], -j))
    gone = set(may_go[: max(0, len(weights) - keep)])
    return [j for j in range(len(weights)) if j not in gone]


def accepted(candidate_means: Sequence[float], worst_mean: float, slots: int) -> list[int]:
    """The candidates that join, best first: those above the worst survivor on the same questions, at most `slots`.

    Args:
        candidate_means: Mean reward of each candidate.
        worst_mean: Mean reward of the worst survivor.
        slots: Free places in the population.
    """
    better = [j for j, mean in enumerate(candidate_means) if mean > worst_mean]
    return sorted(better, key=lambda j: (-candidate_means[j], j))[: max(slots, 0)]


def failures_first(paths: Iterable[tuple[int, float, int]], count: int, success: float) -> list[int]:
    """The path numbers of the failures that a proposal reads: lowest reward, then newest, then lowest number.

    Args:
        paths: Path number, reward and step of each.
        count: How many at most.
        success: A reward from here on is no failure.
    """
    failed = [(reward, -step, path) for path, reward, step in paths if reward < success]
    return [path for _, _, path in sorted(failed)[:count]]


def groups_needed(deviation: float, difference: float, z: float = 1.96) -> float:
    """Groups that tell two instructions apart: 2 deviation^2 z^2 / difference^2.

    Args:
        deviation: Standard deviation of group means, in units of reward.
        difference: The difference of the two instructions' mean rewards.
        z: Quantile of the normal distribution; 1.96 for 95 %.
    """
    return 2 * (deviation * z / difference) ** 2
