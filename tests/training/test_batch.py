"""Trajectories become rows; advantages are those worked by hand; rows are divided into steps and passes whole."""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import fmean, stdev

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aepo.algorithms import AEPO, GRPO, Algorithm
from aepo.training.batch import flat_batch, micro_batches, minibatches
from aepo.types import Group, Kind, Leaf, Origin, Sample, StopReason, TrajectoryTree

PAD, LIMIT = 99, 10


def written(tree: TrajectoryTree, parent: int, path: int, tokens: Sequence[int], entropies: Sequence[float]) -> int:
    node = tree.add(parent, Kind.POLICY, tokens, path)
    node.entropies, node.logprobs = list(entropies), [-2 * e - 0.1 for e in entropies]
    return node.id


def ended(tree: TrajectoryTree, node: int, path: int, origin: Origin, reward: float | None) -> None:
    tree.leaves.append(Leaf(path, node, origin, StopReason.ANSWER, reward=reward))


def branched() -> Group:
    """Three trajectories: the second branches from the first after an observation, the third stands alone."""
    tree = TrajectoryTree()
    prompt = tree.add(None, Kind.PROMPT, [1, 2], 0).id
    shared = written(tree, prompt, 0, [3, 4], [1.0, 0.25])
    seen = tree.add(shared, Kind.OBSERVATION, [5, 6], 0).id
    ended(tree, written(tree, seen, 0, [7], [0.5]), 0, Origin.PROBE, 1.0)
    ended(tree, written(tree, seen, 1, [8, 9, 10], [2.0, 0.0, 0.75]), 1, Origin.BRANCH, 0.0)
    ended(tree, written(tree, prompt, 2, [11], [1.5]), 2, Origin.GLOBAL, 0.25)
    return Group(Sample("branched", id="branched"), tree)


def short(reward: float | None = 0.5) -> Group:
    """Two trajectories of one token each."""
    tree = TrajectoryTree()
    prompt = tree.add(None, Kind.PROMPT, [1], 0).id
    ended(tree, written(tree, prompt, 0, [12], [0.1]), 0, Origin.GLOBAL, 1.0)
    ended(tree, written(tree, prompt, 1, [13], [3.0]), 1, Origin.GLOBAL, reward)
    return Group(Sample("short", id="short"), tree)


# Entropies of the trained tokens, a row each; a shared token counts in every trajectory that contains it.
ENTROPIES = [[1.0, 0.25, 0.5], [1.0, 0.25, 2.0, 0.0, 0.75], [1.5], [0.1], [3.0]]
REWARDS = [[1.0, 0.0, 0.25], [1.0, 0.5]]


def z_scores(values: Sequence[float]) -> list[float]:
    return [(v - fmean(values)) / (stdev(values) + 1e-6) for v in values]


def factors(rows: Sequence[Sequence[float]], weight: float) -> list[list[float]]:
    every = [h for row in rows for h in row]
    return [[max(0.0, 1 + weight * (h - fmean(every)) / (stdev(every) + 1e-6)) for h in row] for row in rows]


def expected(algorithm: Algorithm) -> list[list[float]]:
    """The advantage of every trained token, a row each."""
    base = [a for group in REWARDS for a in z_scores(group)]
    scale = [[1.0] * len(row) for row in ENTROPIES]
    if isinstance(algorithm, AEPO) and algorithm.entropy_advantage:
        if algorithm.entropy_scope == "batch":
            scale = factors(ENTROPIES, algorithm.entropy_weight)
        else:
            scale = factors(ENTROPIES[:3], algorithm.entropy_weight) + factors(ENTROPIES[3:], algorithm.entropy_weight)
    return [[a * f for f in row] for a, row in zip(base, scale, strict=True)]


def test_a_row_is_a_trajectory_with_what_the_policy_wrote_marked() -> None:
    batch = flat_batch([branched(), short()], GRPO(), PAD, LIMIT)
    assert batch.tokens_BT.tolist() == [
        [1, 2, 3, 4, 5, 6, 7, PAD, PAD],
        [1, 2, 3, 4, 5, 6, 8, 9, 10],
        [1, 2, 11, *[PAD] * 6],
        [1, 12, *[PAD] * 7],
        [1, 13, *[PAD] * 7],
    ]
    assert batch.loss_mask_BT.tolist() == [
        [0, 0, 1, 1, 0, 0, 1, 0, 0],
        [0, 0, 1, 1, 0, 0, 1, 1, 1],
        [0, 0, 1, *[0] * 6],
        [0, 1, *[0] * 7],
        [0, 1, *[0] * 7],
    ]
    assert batch.lengths_B.tolist() == [7, 9, 3, 2, 2]
    assert batch.groups_B.tolist() == [0, 0, 0, 1, 1]
    trained = batch.loss_mask_BT != 0
    assert batch.entropies_BT[trained].tolist() == pytest.approx([h for row in ENTROPIES for h in row])
    assert torch.allclose(batch.old_logprobs_BT[trained], -2 * batch.entropies_BT[trained] - 0.1)
    for values in (batch.entropies_BT, batch.old_logprobs_BT, batch.advantages_BT):
        assert not values[~trained].any()


@pytest.mark.parametrize(
    "algorithm",
    [
        GRPO(),
        AEPO(),
        AEPO(entropy_weight=3.0),
        AEPO(entropy_advantage=False),
        AEPO(entropy_scope="group", entropy_weight=0.5),
    ],
    ids=["grpo", "aepo", "strong", "switched off", "within the group"],
)
def test_advantages_are_those_worked_by_hand(algorithm: Algorithm) -> None:
    batch = flat_batch([branched(), short()], algorithm, PAD, LIMIT)
    found = batch.advantages_BT[batch.loss_mask_BT != 0].tolist()
    assert found == pytest.approx([a for row in expected(algorithm) for a in row], abs=1e-5)
    if getattr(algorithm, "entropy_weight", 0.0) == 3.0:
        assert 0.0 in found, "the factor must stop at 0, not turn the sign"


@pytest.mark.parametrize("algorithm", [AEPO(), GRPO()], ids=["aepo", "grpo"])
def test_the_padding_token_is_seen_nowhere_else(algorithm: Algorithm) -> None:
    one, other = (flat_batch([branched(), short()], algorithm, pad, LIMIT) for pad in (PAD, 3))
    for name in one.__dataclass_fields__:
        if name != "tokens_BT":
            assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_a_longer_neighbour_changes_nothing_but_the_width() -> None:
    alone, together = flat_batch([short()], GRPO(), PAD, LIMIT), flat_batch([branched(), short()], GRPO(), PAD, LIMIT)
    cut = together.rows(torch.tensor([3, 4]))
    for name in alone.__dataclass_fields__:
        if name != "groups_B":
            assert torch.equal(getattr(alone, name), getattr(cut, name)), name
    assert cut.tokens_BT.shape == (2, 2)


def test_a_trajectory_without_a_reward_is_refused_by_the_name_of_its_sample() -> None:
    with pytest.raises(ValueError, match="sample 'short': 1 leaves have no reward"):
        flat_batch([branched(), short(None)], AEPO(), PAD, LIMIT)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.integers(1, 8), st.integers(0, 9), st.randoms())
def test_minibatches_keep_questions_together_and_cover_all_rows_once(
    sizes: list[int], count: int, seed: int, order: random.Random
) -> None:
    groups = [number for number, size in enumerate(sizes) for _ in range(size)]
    order.shuffle(groups)
    groups_B = torch.tensor(groups)
    parts = minibatches(groups_B, count, random.Random(seed))
    assert len(parts) == min(count, len(sizes))
    assert sorted(row for part in parts for row in part.tolist()) == list(range(len(groups)))
    questions = [set(groups_B[part].tolist()) for part in parts]
    assert sum(map(len, questions)) == len(sizes), "a question is in two minibatches"
    assert max(map(len, questions)) - min(map(len, questions)) <= 1
    again = minibatches(groups_B, count, random.Random(seed))
    assert all(torch.equal(a, b) for a, b in zip(parts, again, strict=True))


def test_minibatches_differ_from_pass_to_pass() -> None:
    rng = random.Random(1)
    passes = [[p.tolist() for p in minibatches(torch.arange(12), 3, rng)] for _ in range(2)]
    assert passes[0] != passes[1]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.integers(1, 200))
def test_micro_batches_fit_the_budget_and_cover_all_rows_once(lengths: list[int], budget: int) -> None:
    parts = micro_batches(torch.tensor(lengths), budget)
    assert sorted(row for part in parts for row in part.tolist()) == list(range(len(lengths)))
    for part in parts:
        padded = len(part) * max(lengths[row] for row in part.tolist())
        assert padded <= budget or len(part) == 1
