"""Whether a path branches after an observation: probabilities, rules, pacing. No torch.

In all functions `delta` is dH = scale(H_t - h_init), `consecutive` is l (`streak`), `budget` is k - m, `observation` is
i, from 1, and `mean_observations` is T, observations per trajectory, taken as at least 1. A `delta` that is not finite
is a ValueError.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

from aepo.core.budget import ROUNDING

Rule: TypeAlias = Literal["threshold", "bernoulli", "reference", "random"]
Streak: TypeAlias = Literal["uncertain", "branches"]
Pacing: TypeAlias = Literal["even", "none"]
Time: TypeAlias = Literal["online", "retrospective"]
RULES: tuple[str, ...] = get_args(Rule)
PACINGS: tuple[str, ...] = get_args(Pacing)


def streak(consecutive: int, counts: bool) -> int:
    """The value of l after one more observation: l + 1 if it counts, else 0.

    AEPO's paper penalises consecutive observations of high entropy. So an observation counts if the rule without
    penalty passes, whether or not a branch was left (`Streak` "uncertain"); with "branches", if a branch started.
    """
    return consecutive + 1 if counts else 0


def patience(consecutive: int, penalty: float = 0.05) -> float:
    """Factor of P by l: max(0, 1 - penalty l); its form and 0.05 are the public code's, not the paper's."""
    return max(0.0, 1.0 - penalty * consecutive)


def branch_probability(
    delta: float, consecutive: int, alpha: float = 0.5, gamma: float = 0.2, penalty: float = 0.05
) -> float:
    """P = clip((alpha + gamma dH) max(0, 1 - penalty l), 0, 1); alpha is P for an unchanged entropy.

    The paper has (alpha + gamma dH) (1 - P(l)). The clip to 0 .. 1 and the max are ours.
    """
    _require_finite(delta)
    left = patience(consecutive, penalty)
    if left == 0.0:
        return 0.0  # the other factor may have overflowed to inf, and 0 times inf is NaN
    return min(max((alpha + gamma * delta) * left, 0.0), 1.0)


def threshold_rule(probability: float, tau: float = 0.5) -> bool:
    """The paper's rule: branch when P > tau."""
    return probability > tau


def bernoulli_rule(probability: float, uniform: float) -> bool:
    """Branch with probability P: u < P, u uniform on [0, 1)."""
    return uniform < probability


def reference_rule(
    delta: float, consecutive: int, uniform: float, gamma: float = 0.2, penalty: float = 0.05, tau: float = 0.5
) -> bool:
    """The public code's rule: branch when (u + gamma dH) max(0, 1 - penalty l) >= tau, u uniform on [0, 1)."""
    _require_finite(delta)
    left = patience(consecutive, penalty)
    return (uniform + gamma * delta) * left >= tau if left > 0.0 else tau <= 0.0


def reference_probability(
    delta: float, consecutive: int, gamma: float = 0.2, penalty: float = 0.05, tau: float = 0.5
) -> float:
    """How often `reference_rule` branches: 1 - clip(tau / (1 - penalty l) - gamma dH, 0, 1), 0 if penalty l >= 1."""
    _require_finite(delta)
    left = patience(consecutive, penalty)
    if left == 0.0:
        return float(tau <= 0.0)
    return 1.0 - min(max(tau / left - gamma * delta, 0.0), 1.0)


def random_rate(budget: int, global_samples: int, mean_observations: float) -> float:
    """The rate of the control that does not read entropies: min(1, budget / (m T)).

    With beam size 2, the m T observations of the global samples use the whole budget on average.
    """
    return min(1.0, budget / (max(global_samples, 1) * max(mean_observations, 1.0)))


def quota(budget: int, observation: int, mean_observations: float, pacing: str = "even") -> int:
    """The number of branches that a question may have started after its i-th observations are decided.

    even: min(budget, ceil(budget i / T)).  none: budget. Another pacing is a ValueError.
    """
    if pacing == "none":
        return budget
    if pacing != "even":
        raise ValueError(f"unknown pacing {pacing!r}, known are {', '.join(PACINGS)}")
    return min(budget, math.ceil(budget * observation / max(mean_observations, 1.0) - ROUNDING))


def allowed(used: int, budget: int, observation: int, mean_observations: float, pacing: str = "even") -> bool:
    """Whether one more branch may start at an i-th observation: `used` is below the `quota`."""
    return used < quota(budget, observation, mean_observations, pacing)


def hindsight_score(probability: float, observation: int, mean_observations: float, depth_bonus: float = 0.3) -> float:
    """Score of an observation for a branch after its path has ended: P + depth_bonus i / T.

    A later branch shares more of the path, so it costs fewer tool calls.
    """
    return probability + depth_bonus * observation / max(mean_observations, 1.0)


def _require_finite(delta: float) -> None:
    if not math.isfinite(delta):
        raise ValueError(f"the entropy change after an observation is {delta}: the model's logits are broken")
