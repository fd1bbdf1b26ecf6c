"""Each switch of an algorithm changes what it is named after, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from aepo.algorithms import AEPO, ARPO, AXPO, GRPO, Algorithm, ScoredBatch
from aepo.core.advantages import entropy_aware, group_relative
from aepo.core.exploration import IndependentSamples
from aepo.core.tree_credit import tree_relative
from tests.rules import branching

BATCH = ScoredBatch(
    rewards_B=torch.tensor([1.0, 0.0, 0.5, 2.0, 2.0, 1.0]),
    groups_B=torch.tensor([4, 4, 4, 7, 7, 7]),
    entropies_BT=torch.rand(6, 5, generator=torch.Generator().manual_seed(0)) * 3,
    loss_mask_BT=torch.tensor([[0, 1, 1, 1, 1], [0, 1, 1, 0, 0], [1] * 5, [0, 0, 1, 1, 0], [0, 1, 0, 1, 1], [1] * 5]),
    lengths_B=torch.tensor([4, 2, 5, 3, 4, 5]),
    max_length=5,
    nodes_BT=torch.arange(6)[:, None].expand(6, 5),
    turns_BT=torch.zeros(6, 5, dtype=torch.long),
    states_BT=torch.tensor([[0]] * 3 + [[1]] * 3).expand(6, 5),
)
RATIOS = torch.tensor([0.5, 0.9, 1.0, 1.1, 1.5, 4.0])
ADVANTAGES = torch.tensor([[1.0], [-1.0]])


def loss_and_factor(algorithm: Algorithm) -> tuple[torch.Tensor, torch.Tensor]:
    """(2, 6) losses, and F of `grad = -F A grad logp`, for good and bad tokens at several ratios."""
    logprobs = RATIOS.log().repeat(2, 1).requires_grad_()
    loss = algorithm.loss(logprobs, torch.zeros(2, 6), ADVANTAGES)
    (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
    return loss.detach(), -gradient / ADVANTAGES


def rules(algorithm: Algorithm) -> dict[str, object]:
    made = algorithm.exploration()
    return {**made.settings.model_dump(), "group_size": made.group_size, "probes": made.probes}


def changed(switch: str) -> dict[str, tuple[object, object]]:
    """The rules of the rollout that a switch changes: before and after."""
    before, after = rules(AEPO()), rules(AEPO(**{switch: False}))
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}


SWITCHES = ("dynamic_budget", "branch_penalty", "entropy_clip", "entropy_advantage")


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_changes_one_part_only(switch: str) -> None:
    off = AEPO(**{switch: False})
    same_rules = rules(off) == rules(AEPO())
    same_advantages = torch.equal(off.advantages(BATCH).expand(6, 5), AEPO().advantages(BATCH).expand(6, 5))
    same_gradient = torch.equal(loss_and_factor(off)[1], loss_and_factor(AEPO())[1])
    touched = {"rollout": not same_rules, "advantage": not same_advantages, "loss": not same_gradient}
    part = {"dynamic_budget": "rollout", "branch_penalty": "rollout", "entropy_clip": "loss"}.get(switch, "advantage")
    assert touched == {name: name == part for name in touched}


def test_without_a_dynamic_budget_nothing_is_probed_and_m_is_a_fixed_share() -> None:
    assert changed("dynamic_budget") == {"dynamic_budget": (True, False), "probes": (1, 0)}
    fixed = AEPO(dynamic_budget=False, group_size=8, initial_fraction=0.75).exploration()
    state = fixed.initial_state(100)
    assert fixed.head_start() == fixed.global_samples(None, state) == 6
    dynamic = AEPO(group_size=8).exploration()
    assert len({dynamic.global_samples(gap, state) for gap in (-3.0, 0.0, 3.0)}) == 3


def test_without_a_branch_penalty_only_the_penalty_is_gone() -> None:
    assert changed("branch_penalty") == {"penalty": (0.05, 0.0)}


def test_the_clip_keeps_the_gradient_of_good_tokens_alone() -> None:
    (value, kept), (clipped_value, clipped) = loss_and_factor(AEPO()), loss_and_factor(AEPO(entropy_clip=False))
    assert torch.equal(value, clipped_value)
    assert kept.tolist() == [pytest.approx([0.5, 0.9, 1.0, 1.1, 1.2, 1.2]), pytest.approx([0, 0.9, 1.0, 1.1, 1.5, 0])]
    assert clipped.tolist() == [pytest.approx([0.5, 0.9, 1.0, 1.1, 0, 0]), pytest.approx([0, 0.9, 1.0, 1.1, 1.5, 0])]


def test_the_clip_settings_reach_the_loss() -> None:
    wide = {"clip_low": 0.6, "clip_high": 1.0, "dual_clip": None}
    for algorithm in (AEPO(**wide), GRPO(**wide)):
        above = 2.0 if isinstance(algorithm, AEPO) else 0.0
        factor = loss_and_factor(algorithm)[1].tolist()
        assert factor[0] == pytest.approx([0.5, 0.9, 1.0, 1.1, 1.5, above])
        assert factor[1] == pytest.approx([0.5, 0.9, 1.0, 1.1, 1.5, 4.0])


def test_with_all_four_parts_off_advantage_and_loss_are_those_of_grpo() -> None:
    bare = AEPO(**dict.fromkeys(SWITCHES, False))
    assert torch.equal(bare.advantages(BATCH), GRPO().advantages(BATCH))
    for ours, theirs in zip(loss_and_factor(bare), loss_and_factor(GRPO()), strict=True):
        assert torch.equal(ours, theirs)


def test_entropy_is_compared_with_the_batch_or_with_the_group() -> None:
    base = group_relative(BATCH.rewards_B, BATCH.groups_B)[:, None]
    whole = AEPO().advantages(BATCH)
    assert torch.allclose(whole, entropy_aware(base, BATCH.entropies_BT, BATCH.loss_mask_BT, 0.2))
    within = AEPO(entropy_scope="group").advantages(BATCH)
    for rows in (slice(0, 3), slice(3, 6)):
        alone = entropy_aware(base[rows], BATCH.entropies_BT[rows], BATCH.loss_mask_BT[rows], 0.2)
        assert torch.allclose(within[rows], alone)
    assert not torch.allclose(whole, within, atol=1e-3)


def test_a_group_scope_does_not_read_the_other_groups() -> None:
    loud = replace(BATCH, entropies_BT=BATCH.entropies_BT * torch.tensor([[1.0]] * 3 + [[50.0]] * 3))
    grouped, batch = AEPO(entropy_scope="group"), AEPO()
    assert torch.equal(grouped.advantages(loud)[:3], grouped.advantages(BATCH)[:3])
    assert not torch.allclose(batch.advantages(loud)[:3], batch.advantages(BATCH)[:3], atol=1e-3)


@pytest.mark.parametrize("kind", [AEPO, ARPO, AXPO])
def test_every_algorithm_that_branches_has_leaf_weights_and_credit(kind: type[Algorithm]) -> None:
    branched = replace(BATCH, nodes_BT=torch.tensor([[0, 1, 2, 2, 2], [0, 1, 3, 3, 3], [0, 4, 4, 4, 4]] * 2))
    branched.nodes_BT[3:] += 5
    plain = kind(leaf_weights="path", credit="mixed", entropy_weight=0.0)
    expected = tree_relative(branched.rewards_B, branched.groups_B, branched.nodes_BT, "path", "mixed")
    assert torch.equal(plain.advantages(branched), expected)
    shy = kind(leaf_weights="path", credit="mixed", entropy_weight=-0.2).advantages(branched)
    assert torch.allclose(shy, entropy_aware(expected, branched.entropies_BT, branched.loss_mask_BT, -0.2))


def test_an_entropy_weight_of_0_reads_no_entropy() -> None:
    assert not AEPO(entropy_weight=0.0, dynamic_budget=False, initial_fraction=1.0).needs_entropy
    assert GRPO(entropy_weight=-0.2).needs_entropy and GRPO(entropy_weight=-0.2).needs_every_entropy


def test_hard_attribution_shares_what_credit_gives() -> None:
    branched = replace(BATCH, nodes_BT=torch.tensor([[0, 1, 2, 2, 2], [0, 1, 3, 3, 3], [0, 4, 4, 4, 4]] * 2))
    branched.nodes_BT[3:] += 5
    soft = ARPO(credit="sibling").advantages(branched)
    hard = ARPO(credit="sibling", attribution="hard").advantages(branched)
    assert torch.allclose(hard[0, 1], (soft[0, 1] + soft[1, 1]) / 2) and torch.equal(hard[:, 2:], soft[:, 2:])


def test_grpo_takes_independent_samples() -> None:
    assert GRPO(group_size=5).exploration() == IndependentSamples(5)
    assert not GRPO().needs_entropy and AEPO().needs_entropy


def test_aepo_hands_its_settings_to_the_rollout() -> None:
    given = {
        "group_size": 12,
        "beam_size": 3,
        "probes": 2,
        "beta": 0.5,
        "min_global": 0.4,
        "initial_fraction": 0.3,
        "alpha": 0.4,
        "gamma": 0.3,
        "tau": 0.7,
        "penalty": 0.1,
        "branch_rule": "bernoulli",
        "pacing": "none",
        "entropy_scale": "nats",
        "entropy_window": 7,
        "branch_time": "retrospective",
        "depth_bonus": 0.1,
    }
    assert AEPO(**given).exploration() == branching(**given)


@pytest.mark.parametrize("preset", ["default", "paper", "reference"])
def test_a_preset_survives_being_written_down(preset: str) -> None:
    algorithm = AEPO(preset=preset, tau=0.7)
    assert algorithm.tau == 0.7
    assert AEPO.model_validate(algorithm.model_dump()) == algorithm
    assert algorithm.exploration().settings.tau == 0.7
