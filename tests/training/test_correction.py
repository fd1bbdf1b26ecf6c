"""A correction multiplies the loss of each token, in every algorithm and in both layouts."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from aepo import api, config
from aepo.algorithms import AEPO, GRPO, Algorithm, AnyAlgorithm
from aepo.config import TrainConfig
from aepo.core.aggregation import aggregate
from aepo.core.correction import correction
from aepo.engines.local.policy import LocalPolicy
from aepo.runs.metrics import read_metrics
from aepo.training.batch import Batch, flat_batch
from aepo.training.correction import corrected
from aepo.training.step import Learner, update
from aepo.types import Group
from tests import tiny

KINDS: tuple[type[Algorithm], ...] = get_args(get_args(AnyAlgorithm)[0])
LIMIT = 40
MASK = {"correction": "mask", "correction_cap": 1.3, "correction_floor": 0.8}
CORRECTIONS = [
    {"correction": "truncate", "correction_cap": 1.2},
    {"correction": "truncate", "correction_cap": 1.5, "correction_level": "sequence"},
    MASK,
]


def sampled_otherwise(groups: list[Group], algorithm: Algorithm) -> Batch:
    """As if a sampler with other arithmetic had drawn it."""
    batch = flat_batch(groups, algorithm, 0, LIMIT)
    noise = torch.randn(batch.old_logprobs_BT.shape, generator=torch.Generator().manual_seed(5)) * 0.4
    return replace(batch, old_logprobs_BT=(batch.old_logprobs_BT + noise) * batch.loss_mask_BT)


def learner(policy: LocalPolicy, layout: str, algorithm: Algorithm, rate: float = 0.0, **changes: object) -> Learner:
    given = {"minibatches": 1, "max_grad_norm": 1e9, "micro_batch_tokens": 150, "layout": layout}
    reference = changes.pop("reference", None)
    settings = TrainConfig(**{**given, "old_logprobs": "recompute", **changes})
    optimizer = torch.optim.SGD(policy.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1.0)
    return Learner(policy, optimizer, schedule, algorithm, settings, reference=reference)


def trained(of: Learner, batch: Batch) -> tuple[Tensor, dict[str, float]]:
    """The gradient, and the metrics as a run logs them."""
    after, found = corrected(of, batch)
    metrics = update(of, after, random.Random(0)) | found
    return torch.cat([p.grad.flatten() for p in of.policy.parameters()]), metrics


@pytest.mark.parametrize("settings", CORRECTIONS, ids=["token truncate", "sequence truncate", "token mask"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_tokens_loss_is_multiplied_by_its_weight(
    rollout: list[Group], policy: LocalPolicy, layout: str, kind: type[Algorithm], settings: dict[str, object]
) -> None:
    algorithm = kind()
    batch = sampled_otherwise(rollout, algorithm)
    ours, metrics = trained(learner(policy, layout, algorithm, **settings), batch)

    logprobs_BT = policy.score(batch.tokens_BT, batch.loss_mask_BT, 1.0)
    old_BT = logprobs_BT.detach()
    names = {name.removeprefix("correction_"): value for name, value in settings.items()}
    found = correction(old_BT, batch.old_logprobs_BT, batch.loss_mask_BT, names.pop("correction"), **names)
    loss_BT = algorithm.loss(logprobs_BT, old_BT, batch.advantages_BT) * found.weights
    loss = aggregate(loss_BT, batch.loss_mask_BT, algorithm.aggregation)
    theirs = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(policy.parameters()))])
    assert theirs.norm() > 0.01
    assert (ours - theirs).abs().max() <= 1e-5 * max(1.0, theirs.abs().max())
    assert 0 < metrics["correction/cut_share"] < 1 and 0 < metrics["correction/effective_sample_size"] < 1


def test_ratios_are_to_what_the_trainer_finds_and_the_metrics_to_the_sampler(
    rollout: list[Group], policy: LocalPolicy, layout: str
) -> None:
    algorithm = AEPO()
    batch = sampled_otherwise(rollout, algorithm)
    _, against_rollout = trained(learner(policy, layout, algorithm, old_logprobs="rollout"), batch)
    _, anew = trained(learner(policy, layout, algorithm), batch)
    assert against_rollout["clip/low_fraction"] > 0.05 and against_rollout["clip/high_fraction"] > 0.05
    assert anew["clip/low_fraction"] == anew["clip/high_fraction"] == 0
    assert abs(anew["kl/rollout"]) < 1e-5 < abs(against_rollout["kl/rollout"])
    told = [name for name in anew if name.startswith("logprobs/")]
    assert told and {name: anew[name] for name in told} == pytest.approx(
        {name: against_rollout[name] for name in told}, rel=1e-4
    )
    # The noise has a standard deviation of 0.4.
    assert 0.5 < anew["logprobs/rollout_outside_share"] < 0.7 and 0.05 < anew["logprobs/rollout_k3"] < 0.15
    assert not any(name.startswith("correction/") for name in anew)


def test_they_are_computed_once_before_the_first_update(rollout: list[Group], policy: LocalPolicy, layout: str) -> None:
    of = learner(policy, layout, GRPO(), rate=0.3, minibatches=2, epochs=3)
    batch = flat_batch(rollout, GRPO(), 0, LIMIT)
    after, _ = corrected(of, batch)
    assert torch.allclose(after.old_logprobs_BT, batch.old_logprobs_BT, atol=1e-5)
    metrics = update(of, after, random.Random(0))
    assert metrics["clip/low_fraction"] + metrics["clip/high_fraction"] > 0, "later steps are measured against them"


def test_without_it_the_batch_is_the_samplers(rollout: list[Group], policy: LocalPolicy, layout: str) -> None:
    batch = sampled_otherwise(rollout, GRPO())
    assert corrected(learner(policy, layout, GRPO(), old_logprobs="rollout"), batch) == (batch, {})


def test_the_kl_term_has_no_weight(rollout: list[Group], policy: LocalPolicy, layout: str) -> None:
    algorithm = GRPO(kl_weight=0.1)
    batch = flat_batch(rollout, algorithm, 0, LIMIT)
    far = replace(batch, old_logprobs_BT=(batch.old_logprobs_BT - 3) * batch.loss_mask_BT)
    reference = policy.frozen()
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(1.02)
    masked, metrics = trained(learner(policy, layout, algorithm, reference=reference, correction="mask"), far)
    still = replace(batch, advantages_BT=torch.zeros_like(batch.advantages_BT))
    alone, _ = trained(learner(policy, layout, algorithm, reference=reference), still)
    assert metrics["correction/cut_share"] == metrics["correction/dropped_share"] == 1
    assert alone.norm() > 0 and torch.equal(masked, alone)


def test_a_dropped_trajectory_is_not_read(rollout: list[Group], policy: LocalPolicy, layout: str) -> None:
    batch = flat_batch(rollout, GRPO(), 0, LIMIT)
    first_BT = torch.zeros_like(batch.old_logprobs_BT)
    row = int((batch.advantages_BT != 0).any(-1).nonzero()[0])
    first_BT[row] = 2 * batch.loss_mask_BT[row]
    otherwise = replace(batch, old_logprobs_BT=batch.old_logprobs_BT - first_BT)
    settings = {"correction": "mask", "correction_level": "sequence"}
    _, before = trained(learner(policy, layout, GRPO()), otherwise)
    _, after = trained(learner(policy, layout, GRPO(), **settings), otherwise)
    assert after["correction/dropped_share"] > 0
    assert after["train/idle_share"] - before["train/idle_share"] == pytest.approx(1 / len(batch.lengths_B))


def test_a_run_logs_what_it_corrected(model_folder: Path, tmp_path: Path) -> None:
    chosen = ["train.steps=2", "train.old_logprobs=recompute", "train.correction=mask"]
    api.train_config(config.load(None, tiny.settings(tmp_path / "run", model_folder, *chosen)))
    rows = [row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if "grad/norm" in row]
    assert len(rows) == 2
    for row in rows:
        assert row["correction/cut_share"] == row["correction/dropped_share"] == 0
        assert row["correction/effective_sample_size"] == pytest.approx(1, abs=1e-3)
        assert row["logprobs/rollout_outside_share"] == 0 and row["logprobs/rollout_k3"] < 1e-6
