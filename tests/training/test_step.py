"""An optimizer step does not depend on how its rows are divided, changes nothing when nothing is to learn, or stops."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor

from aepo.algorithms import AEPO, GRPO, Algorithm, AnyAlgorithm
from aepo.config import TrainConfig
from aepo.engines.local.policy import LocalPolicy
from aepo.training.batch import Batch, flat_batch
from aepo.training.step import Learner, NonFiniteLoss, update
from aepo.types import Group

KINDS: tuple[type[Algorithm], ...] = get_args(get_args(AnyAlgorithm)[0])
every = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
AGGREGATIONS = ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum")
COMPARE_MORE = ("DAPO", "GiGPO")
"""They tell trajectories of one reward apart: by length, and by turns."""
LIMIT = 40
"""Tokens after the prompt, as in `tiny.settings`."""


Train = Callable[..., dict[str, float]]


@pytest.fixture
def train(policy: LocalPolicy, layout: str) -> Train:
    """`update` on the policy, with SGD unless told otherwise; one optimizer step by default."""

    def run(algorithm: Algorithm, batch: Batch, optimizer: torch.optim.Optimizer | None = None, **changes: object):
        optimizer = optimizer or torch.optim.SGD(policy.parameters(), lr=0.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1.0)
        of_call = {name: changes.pop(name) for name in ("rng", "seen_BT") if name in changes}
        of_run = {name: changes.pop(name) for name in ("temperature", "reference") if name in changes}
        given = {"minibatches": 1, "max_grad_norm": 1e9, "micro_batch_tokens": 10**6, "layout": layout}
        settings = TrainConfig(**{**given, **changes})
        learner = Learner(policy, optimizer, schedule, algorithm, settings, **of_run)
        return update(learner, batch, **{"rng": random.Random(0), **of_call})

    return run


def gradient(policy: LocalPolicy) -> Tensor:
    return torch.cat([p.grad.flatten() for p in policy.parameters()])


def weights(policy: LocalPolicy) -> Tensor:
    return torch.cat([p.detach().flatten() for p in policy.parameters()])


def disturbed(batch: Batch, size: float = 0.5) -> Batch:
    """As if the policy had moved since it sampled, so that some tokens are clipped."""
    noise = torch.randn(batch.old_logprobs_BT.shape, generator=torch.Generator().manual_seed(5)) * size
    return replace(batch, old_logprobs_BT=(batch.old_logprobs_BT + noise) * batch.loss_mask_BT)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("kind", [AEPO, GRPO])
def test_the_gradient_does_not_depend_on_micro_batches(
    rollout: list[Group],
    policy: LocalPolicy,
    train: Train,
    layout: str,
    kind: type[Algorithm],
    aggregation: str,
) -> None:
    algorithm = kind(aggregation=aggregation, kl_weight=0.1)
    batch = disturbed(flat_batch(rollout, algorithm, 0, LIMIT))
    reference = policy.frozen()
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(1.02)
    found = {}
    for budget in (1, 150, 10**6):
        metrics = train(algorithm, batch, micro_batch_tokens=budget, reference=reference)
        found[budget] = gradient(policy), metrics
    whole, whole_metrics = found[10**6]
    assert whole.norm() > 0.01
    assert whole_metrics["clip/low_fraction"] > 0 and whole_metrics["clip/high_fraction"] > 0
    assert whole_metrics["kl/reference"] > 0
    assert layout == "flat" or found[1][1]["train/repeated_tokens"] > 0, "trees were split"
    for parts, metrics in (found[1], found[150]):
        assert (parts - whole).abs().max() <= 1e-6 * max(1.0, whole.abs().max())
        metrics.pop("train/repeated_tokens", None)
        assert metrics == pytest.approx({name: whole_metrics[name] for name in metrics}, rel=1e-4, abs=1e-6)


@every
def test_an_algorithm_takes_a_step_that_does_not_depend_on_micro_batches(
    rollout: list[Group], policy: LocalPolicy, train: Train, kind: type[Algorithm]
) -> None:
    batch = disturbed(flat_batch(rollout, kind(), 0, LIMIT))
    metrics = train(kind(), batch)
    whole = gradient(policy)
    assert metrics["grad/norm"] > 0.01 and all(map(math.isfinite, metrics.values()))
    train(kind(), batch, micro_batch_tokens=1)
    assert (gradient(policy) - whole).abs().max() <= 1e-6 * max(1.0, whole.abs().max())
    before = weights(policy)
    train(kind(), batch, torch.optim.SGD(policy.parameters(), lr=1e-3))
    assert not torch.equal(weights(policy), before)


@every
def test_padding_is_never_read(rollout: list[Group], policy: LocalPolicy, train: Train, kind: type[Algorithm]) -> None:
    gradients = []
    for pad in (0, 7):
        train(kind(), disturbed(flat_batch(rollout, kind(), pad, LIMIT)))
        gradients.append(gradient(policy))
    assert torch.equal(*gradients)


def test_a_negative_mask_of_observations_holds(rollout: list[Group], policy: LocalPolicy, train: Train) -> None:
    """What stands in old log-probabilities and advantages of tokens that others wrote changes nothing."""
    batch = disturbed(flat_batch(rollout, AEPO(), 0, LIMIT))
    train(AEPO(), batch)
    clean = gradient(policy)
    outside = batch.loss_mask_BT == 0
    dirty = replace(
        batch,
        old_logprobs_BT=batch.old_logprobs_BT.masked_fill(outside, -7.0),
        advantages_BT=batch.advantages_BT.masked_fill(outside, 100.0),
    )
    train(AEPO(), dirty)
    assert torch.equal(gradient(policy), clean)


def test_before_the_first_change_the_policy_is_the_one_that_sampled(rollout: list[Group], train: Train) -> None:
    metrics = train(AEPO(), flat_batch(rollout, AEPO(), 0, LIMIT))
    assert metrics["clip/low_fraction"] == metrics["clip/high_fraction"] == 0.0
    assert metrics["logprobs/rollout_difference_mean"] < 1e-5
    assert metrics["logprobs/rollout_difference_max"] < 1e-4
    assert abs(metrics["kl/rollout"]) < 1e-5


def test_later_steps_on_the_same_batch_are_clipped(rollout: list[Group], policy: LocalPolicy, train: Train) -> None:
    optimizer = torch.optim.AdamW(policy.parameters(), lr=3e-2, weight_decay=0.0)
    metrics = train(AEPO(), flat_batch(rollout, AEPO(), 0, LIMIT), optimizer, minibatches=2, epochs=3)
    assert metrics["train/optimizer_steps"] == 6
    assert metrics["clip/low_fraction"] + metrics["clip/high_fraction"] > 0
    assert metrics["logprobs/rollout_difference_mean"] < 1e-5, "it is measured before the first change"


def test_there_are_at_most_as_many_steps_as_questions(rollout: list[Group], train: Train) -> None:
    metrics = train(GRPO(), flat_batch(rollout[:2], GRPO(), 0, LIMIT), minibatches=8, epochs=2)
    assert metrics["train/optimizer_steps"] == 4


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.__name__ not in COMPARE_MORE])
def test_equal_rewards_leave_the_weights_as_they_are(
    rollout: list[Group], policy: LocalPolicy, train: Train, kind: type[Algorithm]
) -> None:
    rewards = [leaf.reward for group in rollout for leaf in group.tree.leaves]
    leaves = [leaf for group in rollout for leaf in group.tree.leaves]
    before = weights(policy)
    try:
        for leaf in leaves:
            leaf.reward = 0.1
        optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-2, weight_decay=0.0)
        metrics = train(kind(), flat_batch(rollout, kind(), 0, LIMIT), optimizer, minibatches=2, epochs=2)
    finally:
        for leaf, reward in zip(leaves, rewards, strict=True):
            leaf.reward = reward
    assert torch.equal(weights(policy), before)
    assert metrics["loss"] == metrics["grad/norm"] == 0.0


def test_a_step_goes_no_further_than_the_gradient_norm_allows(
    rollout: list[Group], policy: LocalPolicy, train: Train
) -> None:
    before = weights(policy)
    metrics = train(
        AEPO(), flat_batch(rollout, AEPO(), 0, LIMIT), torch.optim.SGD(policy.parameters(), lr=1.0), max_grad_norm=1e-2
    )
    assert metrics["grad/norm"] > 1e-2, "the metric is the norm before it is scaled down"
    assert (weights(policy) - before).norm() == pytest.approx(1e-2, rel=1e-2)


def test_a_loss_that_is_not_finite_takes_no_step(rollout: list[Group], policy: LocalPolicy, train: Train) -> None:
    batch = flat_batch(rollout, AEPO(), 0, LIMIT)
    batch.advantages_BT[-1, batch.loss_mask_BT[-1] != 0] = float("inf")
    before = weights(policy)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-2)
    with pytest.raises(NonFiniteLoss, match="the loss is not finite"):
        train(AEPO(), batch, optimizer, micro_batch_tokens=1)
    assert torch.equal(weights(policy), before) and not optimizer.state


def test_a_gradient_that_is_not_finite_takes_no_step(rollout: list[Group], policy: LocalPolicy, train: Train) -> None:
    before = weights(policy)
    hook = next(iter(policy.parameters())).register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(NonFiniteLoss, match="the gradient is not finite"):
        train(AEPO(), flat_batch(rollout, AEPO(), 0, LIMIT), torch.optim.AdamW(policy.parameters(), lr=1e-2))
    hook.remove()
    assert torch.equal(weights(policy), before)


def test_the_kl_to_the_reference_starts_at_0_and_pulls_back(
    rollout: list[Group], policy: LocalPolicy, train: Train
) -> None:
    batch, reference = flat_batch(rollout, AEPO(), 0, LIMIT), policy.frozen()
    still = replace(batch, advantages_BT=torch.zeros_like(batch.advantages_BT))

    def kl(weight: float, lr: float, of: Batch) -> float:
        optimizer = torch.optim.SGD(policy.parameters(), lr=lr)
        return train(AEPO(kl_weight=weight), of, optimizer, reference=reference, max_grad_norm=1.0)["kl/reference"]

    assert kl(0.1, 1.0, batch) == 0.0
    moved = kl(0.1, 0.0, batch)
    assert moved > 1e-4
    for _ in range(3):
        kl(1.0, 0.05, still)
    assert kl(1.0, 0.0, still) < 0.9 * moved


def test_the_learning_rate_follows_its_schedule(rollout: list[Group], policy: LocalPolicy) -> None:
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.5)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: min(1.0, (n + 1) / 4))
    batch = flat_batch(rollout, GRPO(), 0, LIMIT)
    learner = Learner(policy, optimizer, schedule, GRPO(), TrainConfig(minibatches=1, max_grad_norm=1e-9))
    rates = [update(learner, batch, random.Random(0))["train/learning_rate"] for _ in range(5)]
    assert rates == pytest.approx([0.25, 0.375, 0.5, 0.5, 0.5])


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_leaving_out_trajectories_without_advantage_changes_no_gradient(
    rollout: list[Group], policy: LocalPolicy, train: Train, aggregation: str
) -> None:
    algorithm = GRPO(aggregation=aggregation)
    batch = disturbed(flat_batch(rollout, algorithm, 0, LIMIT))
    first = int(batch.groups_B[0])
    batch = replace(batch, advantages_BT=batch.advantages_BT * (batch.groups_B != first)[:, None])
    metrics = train(algorithm, batch)
    assert metrics["train/idle_share"] >= float((batch.groups_B == first).float().mean()) > 0
    found = gradient(policy)
    # A reference wants every trajectory; at weight 0 it adds nothing.
    everything = train(algorithm, batch, reference=policy.frozen())
    assert (found - gradient(policy)).abs().max() <= 1e-6
    for name in ("loss", "clip/low_fraction", "clip/high_fraction"):
        assert metrics[name] == pytest.approx(everything[name], abs=1e-6)


def test_momentum_goes_on_when_nothing_is_to_learn(rollout: list[Group], policy: LocalPolicy, train: Train) -> None:
    algorithm = GRPO()
    batch = flat_batch(rollout, algorithm, 0, LIMIT)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3)
    train(algorithm, batch, optimizer)
    before = weights(policy)
    metrics = train(algorithm, replace(batch, advantages_BT=torch.zeros_like(batch.advantages_BT)), optimizer)
    assert metrics["train/idle_share"] == 1.0 and metrics["grad/norm"] == 0.0
    assert (weights(policy) - before).abs().max() > 0
