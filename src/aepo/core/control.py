"""Controllers of a run: the weight of an entropy bonus, and that of a KL penalty. No torch.

They move the logarithm of a weight by a share of a relative error, so that a step means the same at every scale.

Sources: `skywork_step` is Skywork-OR1's (arXiv 2505.22312). `band_step` and `lagrange_step` are ours, after the
multipliers of REPPO (arXiv 2507.11019), whose Adam steps would move a weight by a factor e in thousands of updates.
"""

from __future__ import annotations

import math


def band_step(
    log_alpha: float,
    entropy: float,
    low: float,
    high: float,
    eta: float = 0.1,
    alpha_min: float = 1e-5,
    alpha_max: float = 5e-3,
) -> float:
    """Ln alpha after a step; alpha, the weight of the entropy bonus, only moves while entropy is outside of its band.

    e = low - H below the band, high - H above it, else 0;  ln alpha = clip(ln alpha + eta e / low, ln min, ln max)

    Args:
        log_alpha: ln alpha before the step.
        entropy: H, the policy's mean entropy in the step's rollout, in nats.
        low: Lower end of the band, in nats, above 0.
        high: Its upper end.
        eta: Change of ln alpha for an error as large as `low`.
        alpha_min: Smallest alpha.
        alpha_max: Largest alpha.

    Raises:
        ValueError: The band is empty or not above 0, or the entropy is not finite.
    """
    if not 0.0 < low <= high:
        raise ValueError(f"the entropy band {low} to {high} must be above 0, its low end first")
    _require_finite("entropy", entropy)
    error = low - entropy if entropy < low else high - entropy if entropy > high else 0.0
    return min(max(log_alpha + eta * error / low, math.log(alpha_min)), math.log(alpha_max))


def skywork_step(
    coefficient: float,
    entropy: float,
    target: float,
    delta: float = 1e-4,
    smallest: float = 0.0,
    largest: float = 5e-3,
) -> tuple[float, float]:
    """Skywork-OR1's coefficient after a step, and the part of it that acts: all of it if H < target, else 0.

    c = clip(c + delta if H < target else c - delta, smallest, largest)

    Raises:
        ValueError: The entropy is not finite.
    """
    _require_finite("entropy", entropy)
    moved = min(max(coefficient + (delta if entropy < target else -delta), smallest), largest)
    return moved, moved if entropy < target else 0.0


def lagrange_step(
    log_beta: float,
    kl: float,
    bound: float,
    eta: float = 0.1,
    beta_min: float = 1e-3,
    beta_max: float = 10.0,
) -> float:
    """Ln beta after an optimizer step; beta, the weight of a KL term, rises while the KL is above its bound.

    ln beta = clip(ln beta + eta clip(KL / bound - 1, -1, 1), ln beta_min, ln beta_max)

    Args:
        log_beta: ln beta before the step.
        kl: Mean KL(sampler || policy) of the minibatch's tokens, in nats.
        bound: The KL that is wanted, in nats, above 0.
        eta: Largest change of ln beta in one step.
        beta_min: Smallest beta.
        beta_max: Largest beta.

    Raises:
        ValueError: The bound is not above 0, or the KL is not finite.
    """
    if not bound > 0.0:
        raise ValueError(f"the bound of the KL is {bound}, it must be above 0")
    _require_finite("KL", kl)
    gap = min(max(kl / bound - 1.0, -1.0), 1.0)
    return min(max(log_beta + eta * gap, math.log(beta_min)), math.log(beta_max))


def _require_finite(what: str, value: float) -> None:
    if not math.isfinite(value):
        raise ValueError(f"the policy's {what} is {value}: the model's logits are broken")
