"""The same random input to verl's and TRL's own code gives the same loss, gradient and advantage.

Neither is a dependency: these tests are skipped where they are not installed. Seen with verl 0.9.1 and TRL 1.16.0.
"""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from aepo.algorithms import CISPO, DAPO, GPPO, GRPO, Algorithm, ReinforcePP
from aepo.core.advantages import group_relative, whitened
from aepo.core.aggregation import aggregate

TOLERANCE = 1e-6


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def inputs(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log-probabilities, old ones (ratios from about 0.1 to 10), advantages (B, 1), mask."""
    logprobs = -torch.rand(6, 11, generator=generator(seed), dtype=torch.float64) * 3
    old = logprobs + 0.7 * torch.randn(6, 11, generator=generator(seed + 1), dtype=torch.float64)
    advantages = torch.randn(6, 1, generator=generator(seed + 2), dtype=torch.float64)
    mask = (torch.rand(6, 11, generator=generator(seed + 3)) < 0.7).double()
    mask[:, 0] = 1.0
    return logprobs, old, advantages, mask


def ours(algorithm: Algorithm, seed: int) -> tuple[Tensor, Tensor]:
    logprobs, old, advantages, mask = inputs(seed)
    logprobs.requires_grad_()
    loss = aggregate(algorithm.loss(logprobs, old, advantages), mask, algorithm.aggregation)
    return loss.detach(), torch.autograd.grad(loss, logprobs)[0]


def close(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> bool:
    return all(
        (a - b).abs().max() <= TOLERANCE * max(1.0, float(b.abs().max())) for a, b in zip(one, other, strict=True)
    )


def verls(name: str, algorithm: Algorithm, seed: int) -> tuple[Tensor, Tensor]:
    from verl.trainer.ppo.core_algos import get_policy_loss_fn
    from verl.workers.config import FSDPActorConfig

    config = FSDPActorConfig(
        rollout_n=1,
        ppo_micro_batch_size_per_gpu=1,
        clip_ratio_low=algorithm.clip_low,
        clip_ratio_high=algorithm.clip_high,
        clip_ratio_c=algorithm.dual_clip or 3.0,
    )
    logprobs, old, advantages, mask = inputs(seed)
    logprobs.requires_grad_()
    loss, _ = get_policy_loss_fn(name)(
        old_log_prob=old,
        log_prob=logprobs,
        advantages=advantages.expand(6, 11),
        response_mask=mask,
        loss_agg_mode=algorithm.aggregation,
        config=config,
    )
    return loss.detach(), torch.autograd.grad(loss, logprobs)[0]


def trls(name: str, algorithm: Algorithm, seed: int) -> tuple[Tensor, Tensor]:
    """TRL's loss, of a trainer that has nothing but the settings it reads."""
    from trl.trainer.grpo_trainer import GRPOTrainer

    logprobs, old, advantages, mask = inputs(seed)
    logprobs.requires_grad_()
    trainer: Any = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *a, **k: (logprobs, torch.zeros_like(logprobs), None),
        _metrics={"eval": defaultdict(list)},
        _entropy_bonus_enabled=False,
        accelerator=SimpleNamespace(num_processes=1, reduce=lambda x, reduction: x, gather=lambda x: x),
        args=SimpleNamespace(delta=algorithm.dual_clip, steps_per_generation=1),
        aux_loss_enabled=False,
        beta=0.0,
        current_gradient_accumulation_steps=1,
        # CISPO's bound is the largest ratio itself here, not its distance from 1.
        epsilon_high=algorithm.clip_high + (1.0 if name == "cispo" else 0.0),
        epsilon_low=algorithm.clip_low,
        importance_sampling_level="token",
        loss_type=name,
        model=SimpleNamespace(training=False),
        off_policy_mask_threshold=None,
        top_entropy_quantile=1.0,
        use_vllm=False,
    )
    tokens = torch.zeros(6, 11, dtype=torch.long)
    batch = {
        "prompt_ids": tokens[:, :1],
        "prompt_mask": tokens[:, :1],
        "completion_ids": tokens,
        "completion_mask": mask,
        "advantages": advantages[:, 0],
        "old_per_token_logps": old,
        "num_items_in_batch": mask.sum(),
    }
    loss = GRPOTrainer._compute_loss(trainer, None, batch)
    return loss.detach(), torch.autograd.grad(loss, logprobs)[0]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("name", "algorithm"),
    [
        ("vanilla", GRPO()),
        ("vanilla", DAPO()),
        ("vanilla", ReinforcePP()),
        ("cispo", CISPO()),
        ("cispo", CISPO(clip_low=0.2, clip_high=0.2)),
        ("vanilla", GPPO(beta1=0.0, beta2=0.0)),
    ],
    ids=["grpo", "dapo", "reinforce_pp", "cispo", "cispo with both bounds", "gppo without weights"],
)
def test_losses_and_gradients_are_those_of_verl(name: str, algorithm: Algorithm, seed: int) -> None:
    pytest.importorskip("verl.trainer.ppo.core_algos", exc_type=ImportError)
    found, expected = ours(algorithm, seed), verls(name, algorithm, seed)
    if isinstance(algorithm, GPPO):
        # The value is beside the point: weights of 0 take it away together with the gradient.
        found = found[1], found[1]
        expected = expected[1], expected[1]
    assert close(found, expected)


@pytest.mark.parametrize("seed", range(5))
def test_gppo_has_the_value_of_verls_clipped_loss_and_its_gradient_where_nothing_is_clipped(seed: int) -> None:
    pytest.importorskip("verl.trainer.ppo.core_algos", exc_type=ImportError)
    (value, gradient), (expected, clipped) = ours(GPPO(), seed), verls("vanilla", GPPO(), seed)
    assert value.item() == pytest.approx(expected.item(), rel=TOLERANCE)
    kept = clipped != 0
    assert torch.allclose(gradient[kept], clipped[kept])
    assert (gradient[~kept] != 0).any()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("name", "algorithm"),
    [("grpo", GRPO()), ("grpo", GRPO(dual_clip=None)), ("dapo", DAPO()), ("cispo", CISPO())],
    ids=["grpo", "grpo without dual clip", "dapo", "cispo"],
)
def test_losses_and_gradients_are_those_of_trl(name: str, algorithm: Algorithm, seed: int) -> None:
    pytest.importorskip("trl.trainer.grpo_trainer", exc_type=ImportError)
    assert close(ours(algorithm, seed), trls(name, algorithm, seed))


@pytest.mark.parametrize("seed", range(5))
def test_advantages_are_those_of_verl(seed: int) -> None:
    core_algos = pytest.importorskip("verl.trainer.ppo.core_algos", exc_type=ImportError)
    import numpy as np

    *_, mask = inputs(seed)
    rewards = torch.randn(6, generator=generator(seed + 9), dtype=torch.float64)
    groups = torch.tensor([0, 0, 0, 1, 1, 1])
    # verl takes the reward on the last trained token.
    token_rewards = torch.zeros_like(mask)
    token_rewards[torch.arange(6), 10 - mask.flip(-1).argmax(-1)] = rewards
    z_scores, _ = core_algos.compute_grpo_outcome_advantage(token_rewards, mask, np.array(groups.tolist()))
    assert torch.allclose(group_relative(rewards, groups)[:, None] * mask, z_scores, atol=TOLERANCE)
    white, _ = core_algos.compute_reinforce_plus_plus_outcome_advantage(token_rewards, mask, SimpleNamespace(gamma=1.0))
    assert torch.allclose(whitened(rewards[:, None], mask), white, atol=TOLERANCE)
