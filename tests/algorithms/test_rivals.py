"""Every algorithm of the union keeps the promises of `Algorithm`."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import aepo
from aepo.algorithms import (
    AEPO,
    ARPO,
    AXPO,
    CISPO,
    DAPO,
    GPPO,
    GRPO,
    Algorithm,
    AnyAlgorithm,
    GiGPO,
    ReinforcePP,
    ScoredBatch,
)
from aepo.config import ConfigError, dump, load, parse
from aepo.core.advantages import group_relative
from aepo.core.entropy_branching import BalancedBranchSettings, BranchSettings
from aepo.core.exploration import IndependentSamples
from aepo.core.recovery import separated
from aepo.core.resampling import CallResampling
from tests.rules import branching

KINDS: tuple[type[Algorithm], ...] = get_args(get_args(AnyAlgorithm)[0])
every = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.model_fields["name"].default)

# Clip below and above, dual clip, aggregation.
DEFAULTS = {
    GRPO: (0.2, 0.2, 3.0, "seq-mean-token-mean"),
    ReinforcePP: (0.2, 0.2, 3.0, "token-mean"),
    DAPO: (0.2, 0.28, 3.0, "token-mean"),
    GPPO: (0.2, 0.2, 3.0, "token-mean"),
    CISPO: (1.0, 0.28, None, "token-mean"),
    GiGPO: (0.2, 0.2, 3.0, "token-mean"),
    ARPO: (0.2, 0.2, 3.0, "seq-mean-token-mean"),
    AXPO: (0.2, 0.2, 3.0, "seq-mean-token-mean"),
}


@st.composite
def batches(draw: st.DrawFn) -> ScoredBatch:
    """Up to three groups; a trajectory is a prompt of two tokens, then turns of one to three with one token between."""
    rewards: list[float] = []
    groups: list[int] = []
    rows: list[list[tuple[int, int, int, int]]] = []  # node, mask, turn, state
    nodes = 0
    for group in range(draw(st.integers(1, 3))):
        shared = nodes
        nodes += 1
        for _ in range(draw(st.integers(1, 4))):
            rewards.append(draw(st.sampled_from([-1.0, 0.0, 0.5, 1.0])))
            groups.append(group)
            row = [(shared, 0, -1, -1)] * 2
            for turn in range(draw(st.integers(1, 3))):
                state = 10 * group + draw(st.integers(1, 2)) if turn else 10 * group
                row += [(nodes, 1, turn, state)] * draw(st.integers(1, 3)) + [(nodes + 1, 0, -1, -1)]
                nodes += 2
            rows.append(row)
    width = max(map(len, rows))
    table = torch.tensor([row + [(-1, 0, -1, -1)] * (width - len(row)) for row in rows])
    entropies = torch.rand(table.shape[:2], generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    return ScoredBatch(
        torch.tensor(rewards),
        torch.tensor(groups),
        entropies * table[..., 1],
        table[..., 1],
        torch.tensor([len(row) - 2 for row in rows]),
        12,
        table[..., 0],
        table[..., 2],
        table[..., 3],
    )


def advantages(kind: type[Algorithm], batch: ScoredBatch, **settings: Any) -> torch.Tensor:
    return kind(**settings).advantages(batch) * batch.loss_mask_BT


@every
def test_an_algorithm_is_picked_by_its_name_and_written_down(kind: type[Algorithm]) -> None:
    name = kind.model_fields["name"].default
    config = load(None, [f"algorithm.name={name}"])
    assert type(config.algorithm) is kind and config.algorithm == kind()
    assert parse(yaml.safe_load(dump(config))) == config
    assert getattr(aepo, kind.__name__) is kind


@every
def test_a_group_of_one_is_refused(kind: type[Algorithm]) -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 2"):
        kind(group_size=1)


@every
@given(batch=batches())
def test_advantages_are_finite_and_fit_the_batch(kind: type[Algorithm], batch: ScoredBatch) -> None:
    found = kind().advantages(batch)
    assert found.shape in (batch.loss_mask_BT.shape, (len(batch.rewards_B), 1))
    assert torch.isfinite(found).all() and not found.requires_grad


@every
@given(batch=batches(), garbage=st.sampled_from([1e30, float("inf"), float("nan")]))
def test_padding_and_what_others_wrote_influence_nothing(
    kind: type[Algorithm], batch: ScoredBatch, garbage: float
) -> None:
    expected = advantages(kind, batch)
    pad = torch.nn.functional.pad
    wide = replace(
        batch,
        entropies_BT=pad(batch.entropies_BT.masked_fill(batch.loss_mask_BT == 0, garbage), (0, 3), value=garbage),
        loss_mask_BT=pad(batch.loss_mask_BT, (0, 3)),
        nodes_BT=pad(batch.nodes_BT, (0, 3), value=-1),
        turns_BT=pad(batch.turns_BT, (0, 3), value=-1),
        states_BT=pad(batch.states_BT, (0, 3), value=-1),
    )
    found = advantages(kind, wide)
    assert torch.allclose(found[:, :-3], expected, rtol=1e-6) and (found[:, -3:] == 0).all()


@every
@given(batch=batches(), order=st.randoms())
def test_the_order_of_the_rows_changes_nothing(kind: type[Algorithm], batch: ScoredBatch, order: Any) -> None:
    rows = list(range(len(batch.rewards_B)))
    order.shuffle(rows)
    fields = {name: getattr(batch, name) for name in batch.__dataclass_fields__}
    shuffled = ScoredBatch(**{n: v[rows] if isinstance(v, torch.Tensor) else v for n, v in fields.items()})
    assert torch.allclose(advantages(kind, shuffled), advantages(kind, batch)[rows], atol=1e-5)


@every
@given(batch=batches())
def test_nothing_is_learned_where_all_rewards_are_0(kind: type[Algorithm], batch: ScoredBatch) -> None:
    silent = replace(batch, rewards_B=torch.zeros_like(batch.rewards_B), lengths_B=torch.ones_like(batch.lengths_B))
    assert (advantages(kind, silent) == 0).all()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in (GiGPO, ReinforcePP)])
@given(batch=batches())
def test_advantages_of_a_group_do_not_depend_on_the_others_rewards(kind: type[Algorithm], batch: ScoredBatch) -> None:
    first = batch.groups_B == 0
    other = replace(batch, rewards_B=torch.where(first, batch.rewards_B, batch.rewards_B.flip(0) + 1.0))
    assert torch.equal(advantages(kind, other)[first], advantages(kind, batch)[first])


@pytest.mark.parametrize(("kind", "expected"), DEFAULTS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_defaults_are_those_of_the_spec(kind: type[Algorithm], expected: tuple[Any, ...]) -> None:
    made = kind()
    assert (made.clip_low, made.clip_high, made.dual_clip, made.aggregation) == expected
    assert made.kl_weight == 0.0
    if kind not in (ARPO, AXPO):
        assert made.exploration() == IndependentSamples(8) and not made.needs_entropy


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not DAPO])
def test_all_but_dapo_train_on_every_group_they_sample(kind: type[Algorithm]) -> None:
    assert kind().rounds == 1 and kind().informative([1.0, 1.0])


def test_dapo_samples_up_to_ten_times_for_groups_of_unequal_reward() -> None:
    assert DAPO().rounds == 10 and DAPO(max_rounds=3).rounds == 3
    assert DAPO().informative([0.0, 0.0, 1.0]) and not DAPO().informative([0.5, 0.5])


@given(batches())
def test_dapo_compares_rewards_less_the_penalty_on_length(batch: ScoredBatch) -> None:
    # The last 6 of 12 tokens.
    penalty = (-(batch.lengths_B - 6) / 6).clamp(-1, 0)
    expected = group_relative(batch.rewards_B + penalty, batch.groups_B)[:, None]
    assert torch.allclose(DAPO(overlong_buffer=0.5).advantages(batch), expected, atol=1e-5)
    assert torch.equal(DAPO(overlong_buffer=0.0).advantages(batch), GRPO().advantages(batch))


@given(batches())
def test_gigpo_without_step_weight_is_grpo_averaged_over_tokens(batch: ScoredBatch) -> None:
    assert torch.equal(advantages(GiGPO, batch, step_weight=0.0), advantages(GRPO, batch))


@given(batches())
def test_arpo_differs_by_attribution_only_where_tokens_are_shared(batch: ScoredBatch) -> None:
    # Only prompts are shared here, and nobody trains on them.
    assert torch.allclose(advantages(ARPO, batch, attribution="hard"), advantages(ARPO, batch))


def test_arpo_has_a_fixed_budget_and_neither_penalty_nor_pacing() -> None:
    rules = ARPO(group_size=10, alpha=0.4, gamma=0.3, tau=0.5, entropy_window=7, beam_size=3).exploration()
    expected = branching(
        group_size=10,
        beam_size=3,
        dynamic_budget=False,
        alpha=0.4,
        gamma=0.3,
        tau=0.5,
        penalty=0.0,
        pacing="none",
        entropy_window=7,
    )
    assert rules == expected
    made = ARPO(group_size=10).exploration()
    assert made.head_start() == made.global_samples(None, made.initial_state(100)) == 5
    assert ARPO().needs_entropy


@pytest.mark.parametrize(
    "name", sorted(BalancedBranchSettings.model_fields.keys() - BranchSettings.model_fields.keys())
)
def test_arpo_refuses_what_only_aepo_has(name: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown key 'algorithm.{name}'"):
        load(None, ["algorithm.name=arpo", f"algorithm.{name}=1"])
    assert name in AEPO.model_fields


def test_every_branch_setting_says_what_it_means() -> None:
    assert all(field.description for field in BalancedBranchSettings.model_fields.values())


@pytest.mark.parametrize(("size", "waiting"), [(2, 1), (7, 1), (8, 2), (12, 3)])
def test_a_quarter_of_axpos_group_waits_for_the_others(size: int, waiting: int) -> None:
    assert AXPO(group_size=size).exploration() == CallResampling(size, waiting)
    assert AXPO(group_size=8, resamples=5).exploration() == CallResampling(8, 5)
    assert AXPO().needs_entropy


def test_axpos_paper_preset_judges_thinking_and_calls_apart_and_each_part_by_its_own_tokens() -> None:
    paper = AXPO(preset="paper")
    assert paper.exploration() == CallResampling(12, 4, "first", "probability", 4, True)
    assert (paper.clip_high, paper.kl_weight, paper.separated) == (0.4, 1e-3, True)
    assert AXPO(preset="paper", group_size=6).group_size == 6
    nodes = torch.tensor([[0, 1, 1, 2, 2], [0, 3, 3, 3, 3], [0, 1, 1, 4, -1], [0, 1, 1, 5, 5]])
    mask = torch.tensor([[0, 1, 1, 1, 1], [0, 1, 1, 1, 1], [0, 1, 1, 1, 0], [0, 1, 1, 1, 1]])
    same = torch.zeros(4, 5, dtype=torch.long)
    batch = ScoredBatch(
        torch.tensor([0.0, 1.0, 1.0, 0.0]), same[:, 0], same * 0.0, mask, mask.sum(-1), 5, nodes, same, same
    )
    found = paper.advantages(batch)
    whole, left = separated(batch.rewards_B, batch.groups_B, nodes, mask)
    # The source has 4 tokens of which 2 are left, the continuations 1 of 3 and 2 of 4.
    assert torch.allclose(found, whole * torch.tensor([2.0, 1.0, 3.0, 2.0])[:, None])
    assert (found[~left] == 0).all() and found[2, 3] > 0 > found[3, 3]
    with pytest.raises(ConfigError, match="separated has baselines of its own"):
        load(None, ["algorithm.name=axpo", "algorithm.preset=paper", "algorithm.credit=mixed"])


def test_axpo_refuses_a_group_in_which_nobody_starts_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        load(None, ["algorithm.name=axpo", "algorithm.group_size=4", "algorithm.resamples=4"])
    assert str(error.value) == "algorithm: resamples is 4, it must be between 1 and group_size - 1 = 3"


@given(batch=batches())
def test_axpo_learns_from_a_group_as_grpo_does(batch: ScoredBatch) -> None:
    assert torch.equal(advantages(AXPO, batch), advantages(GRPO, batch))
    assert AXPO().aggregation == GRPO().aggregation


def test_the_settings_of_a_loss_reach_it() -> None:
    logprobs = torch.tensor([0.3, 0.3, 3.0, 3.0]).log()[None].requires_grad_()
    advantage = torch.tensor([[1.0, -1.0, 1.0, -1.0]])

    def factors(algorithm: Algorithm) -> list[float]:
        loss = algorithm.loss(logprobs, torch.zeros(1, 4), advantage)
        (gradient,) = torch.autograd.grad(loss.sum(), logprobs)
        return (-gradient / advantage)[0].tolist()

    assert factors(GPPO(beta1=0.5, beta2=2.0, clip_low=0.4, clip_high=1.0)) == pytest.approx([0.3, 0.3, 4.0, 3.0])
    assert factors(GPPO(dual_clip=2.0)) == pytest.approx([0.3, 0.8, 1.2, 0.0])
    assert factors(CISPO(clip_low=0.6, clip_high=1.0)) == pytest.approx([0.4, 0.4, 2.0, 2.0])
    for kind in (DAPO, ReinforcePP, GiGPO, ARPO, AXPO):
        assert factors(kind(clip_low=0.8, clip_high=1.0, dual_clip=None)) == pytest.approx([0.3, 0.3, 0.0, 3.0])


def test_a_dual_clip_that_cispo_would_not_use_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"algorithm\.dual_clip"):
        load(None, ["algorithm.name=cispo", "algorithm.dual_clip=3.0"])


def test_an_unknown_name_gives_one_line_with_the_known_ones() -> None:
    with pytest.raises(ConfigError) as error:
        load(None, ["algorithm.name=ppo"])
    line = str(error.value)
    assert line.startswith(
        "unknown algorithm 'ppo': did you mean 'gppo'? known: aepo, arpo, axpo, cispo, dapo, gigpo, gppo"
    )
    assert "\n" not in line


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not AEPO], ids=lambda kind: kind.__name__)
def test_the_page_of_an_algorithm_names_its_paper_and_its_defaults(kind: type[Algorithm]) -> None:
    made = kind()
    page = (Path(__file__).parents[2] / "docs" / "algorithms" / f"{made.name}.md").read_text()
    (paper,) = set(re.findall(r"arXiv (\d{4}\.\d{5})", inspect.getmodule(kind).__doc__.split("\n")[0]))
    assert f"arxiv.org/abs/{paper}" in page
    told = {name: yaml.safe_load(value) for name, value in re.findall(r"^\| `(\w+)` \| ([^|]+) \|", page, re.MULTILINE)}
    assert told.items() <= made.model_dump().items()
    own = {name for name, value in made.model_dump().items() if value != GRPO().model_dump().get(name)} - {"name"}
    assert own <= told.keys()
    for link in re.findall(r"\]\((\.\./[^)]+)\)", page):
        assert (Path(__file__).parents[2] / "docs" / "algorithms" / link).is_file()
