"""Puts the rule of `train.trust` into the loss, and moves the weight of its KL term."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from aepo.algorithms.base import Algorithm
from aepo.config import TrustConfig
from aepo.core import trust
from aepo.core.control import lagrange_step


class Trust:
    """The rule of a run, with the weight of its KL term.

    Both parts of the loss work on trees and on whole trajectories: `loss` is positively homogeneous in A, and `term`
    does not read A.

    Attributes:
        settings: The rule.
        log_beta: ln of the weight of the KL term.
    """

    def __init__(self, settings: TrustConfig) -> None:
        self.settings, self.log_beta = settings, math.log(settings.beta)

    def loss(self, algorithm: Algorithm, logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor) -> Tensor:
        """The loss of each token without the KL term; arguments as of `Algorithm.loss`."""
        of = self.settings
        if of.rule == "mask_tv" or of.rule == "mask_kl":
            return trust.masked(logprobs, old_logprobs, advantages, of.rule.removeprefix("mask_"), of.limit)
        if of.rule == "switch":
            near = trust.inside(logprobs, old_logprobs, of.limit, of.estimate)
            return trust.unclipped(logprobs, old_logprobs, advantages) * near
        return algorithm.loss(logprobs, old_logprobs, advantages)

    def term(self, logprobs: Tensor, old_logprobs: Tensor) -> Tensor | None:
        """The KL term of each token, with its weight; None if the rule has none."""
        of = self.settings
        if not of.has_kl_term:
            return None
        kl = math.exp(self.log_beta) * trust.divergence(logprobs, old_logprobs, of.estimate)
        return kl if of.rule == "penalty" else kl * ~trust.inside(logprobs, old_logprobs, of.limit, of.estimate)

    def after(self, kl: float) -> dict[str, float]:
        """Move the weight after an optimizer step with this mean KL, in nats; returns its metrics."""
        of = self.settings
        if not of.has_kl_term:
            return {}
        used = math.exp(self.log_beta)
        self.log_beta = lagrange_step(self.log_beta, kl, of.limit, of.eta, of.beta_min, of.beta_max)
        return {"trust/beta": used}

    def state_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"log_beta": self.log_beta}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the result of `state_dict`."""
        self.log_beta = state["log_beta"]
