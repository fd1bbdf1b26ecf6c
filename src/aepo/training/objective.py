"""Computes the loss and the figures of one forward pass, on whole trajectories or on the tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from aepo.algorithms.base import Algorithm
from aepo.core.aggregation import aggregate
from aepo.core.losses import clip_range_left, kl_k3
from aepo.core.trie import Trie
from aepo.training.batch import Batch
from aepo.training.tree import TreeBatch
from aepo.training.trust import Trust

USUAL_RANGE = (0.2, 0.2)
"""The widths of PPO's usual clip range. All algorithms use it here, so that runs can be compared."""


class Logprobs(Protocol):
    """A model that says how likely given tokens are."""

    def score(self, tokens_BT: Tensor, wanted_BT: Tensor, temperature: float) -> Tensor:
        """(B, T): ln p of each token given the tokens before it, at a temperature; 0 where `wanted_BT` is 0."""
        ...

    def score_tree(self, tree: Trie, places_K: Tensor, targets_K: Tensor, temperature: float) -> Tensor:
        """(K,): ln p of each target after the token at its place in the trie."""
        ...


@dataclass(frozen=True)
class Objective:
    """The objective of an optimizer step.

    Attributes:
        algorithm: Gives the loss.
        policy: The trained model.
        reference: The reference model of the KL term; None without one.
        temperature: The temperature of sampling.
        tokens: The number of trained tokens of the optimizer step.
        trajectories: The number of its trajectories with a trained token.
        trust: The rule that keeps the update near the sampler; None is the algorithm's own clip.
    """

    algorithm: Algorithm
    policy: Logprobs
    reference: Logprobs | None
    temperature: float
    tokens: float
    trajectories: float
    trust: Trust | None = None

    def loss(self, logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor) -> Tensor:
        """The loss of each token, as of `Algorithm.loss`, without KL terms."""
        if self.trust is None:
            return self.algorithm.loss(logprobs, old_logprobs, advantages)
        return self.trust.loss(self.algorithm, logprobs, old_logprobs, advantages)

    def trust_term(self, logprobs: Tensor, old_logprobs: Tensor) -> Tensor | float:
        """What the rule of trust adds to the loss of each token."""
        term = None if self.trust is None else self.trust.term(logprobs, old_logprobs)
        return 0.0 if term is None else term


@dataclass(frozen=True)
class Pass:
    """The results of one forward pass.

    Except for `loss`, `logprobs` and `largest_difference`, they are sums over the trained tokens of all trajectories.

    Attributes:
        loss: The loss, with gradient.
        logprobs: ln p of the tokens, (B, T) of the batch or (M,) of the terms; without gradient.
        low: The number of tokens with A < 0 and a ratio below the clip range.
        high: The number of tokens with A > 0 and a ratio above the clip range.
        reference_kl: The k3 estimates of KL(policy || reference), in nats.
        difference: logp - old_logp.
        absolute_difference: |logp - old_logp|.
        largest_difference: The largest |logp - old_logp|.
        outside: The number of tokens whose ratio is outside of 0.8 to 1.2.
        rollout_k3: The k3 estimates of KL(sampler || policy), in nats.
    """

    loss: Tensor
    logprobs: Tensor
    low: float
    high: float
    reference_kl: float
    difference: float
    absolute_difference: float
    largest_difference: float
    outside: float
    rollout_k3: float


def flat_passes(of: Objective, batches: Iterable[Batch]) -> Iterator[Pass]:
    """Makes passes over whole trajectories."""
    for batch in batches:
        mask_BT = batch.loss_mask_BT
        logprobs_BT = of.policy.score(batch.tokens_BT, mask_BT, of.temperature)
        loss_BT = of.loss(logprobs_BT, batch.old_logprobs_BT, batch.advantages_BT)
        loss_BT = loss_BT + of.trust_term(logprobs_BT, batch.old_logprobs_BT)
        kl_BT = None
        if of.reference is not None:
            with torch.no_grad():
                reference_BT = of.reference.score(batch.tokens_BT, mask_BT, of.temperature)
            kl_BT = kl_k3(logprobs_BT, reference_BT)
            loss_BT = loss_BT + of.algorithm.kl_weight * kl_BT
        loss = aggregate(loss_BT, mask_BT, of.algorithm.aggregation, of.tokens, of.trajectories)
        good_BT, bad_BT = mask_BT * (batch.advantages_BT > 0), mask_BT * (batch.advantages_BT < 0)
        yield _pass(of, loss, kl_BT, logprobs_BT, batch.old_logprobs_BT, mask_BT, good_BT, bad_BT)


def tree_passes(of: Objective, batches: Iterable[TreeBatch]) -> Iterator[Pass]:
    """Makes passes over distinct tokens; the loss sums positive * ell(r, 1) + negative * ell(r, -1)."""
    for batch in batches:
        terms = batch.terms
        scored = (batch.tree, batch.places_K, batch.targets_K, of.temperature)
        logprobs_M = of.policy.score_tree(*scored)[terms.token_M]
        one_M = torch.ones_like(terms.positive_M)
        loss_M = terms.positive_M * of.loss(logprobs_M, terms.old_logprobs_M, one_M)
        loss_M = loss_M + terms.negative_M * of.loss(logprobs_M, terms.old_logprobs_M, -one_M)
        loss_M = loss_M + terms.weight_M * of.trust_term(logprobs_M, terms.old_logprobs_M)
        kl_M = None
        if of.reference is not None:
            with torch.no_grad():
                reference_M = of.reference.score_tree(*scored)[terms.token_M]
            kl_M = kl_k3(logprobs_M, reference_M)
            loss_M = loss_M + of.algorithm.kl_weight * terms.weight_M * kl_M
        yield _pass(of, loss_M.sum(), kl_M, logprobs_M, terms.old_logprobs_M, terms.count_M, terms.good_M, terms.bad_M)


@torch.no_grad()
def _pass(
    of: Objective,
    loss: Tensor,
    kl: Tensor | None,
    logprobs: Tensor,
    old_logprobs: Tensor,
    count: Tensor,
    good: Tensor,
    bad: Tensor,
) -> Pass:
    """The results of a pass, from tensors of one shape; `count` is the weight of each entry."""
    below, above = clip_range_left(logprobs, old_logprobs, of.algorithm.clip_low, of.algorithm.clip_high)
    difference = (logprobs - old_logprobs) * (count != 0)
    small, large = clip_range_left(logprobs, old_logprobs, *USUAL_RANGE)
    return Pass(
        loss,
        logprobs.detach(),
        low=float((bad * below).sum()),
        high=float((good * above).sum()),
        reference_kl=0.0 if kl is None else float((kl * count).sum()),
        difference=float((difference * count).sum()),
        absolute_difference=float((difference.abs() * count).sum()),
        largest_difference=float(difference.abs().max()),
        outside=float(((small | large) * count).sum()),
        rollout_k3=float((kl_k3(old_logprobs, logprobs) * count).sum()),
    )
