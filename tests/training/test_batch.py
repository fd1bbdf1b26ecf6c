"""Trajectories become rows; advantages are those worked by hand; rows are divided into steps and passes whole."""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import fmean, stdev, variance
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aepo.algorithms import AEPO, ARPO, DAPO, GRPO, Algorithm, GiGPO, ReinforcePP, ScoredBatch
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


class Seen(GRPO):
    """Keeps what it is asked to judge."""

    batches: ClassVar[list[ScoredBatch]] = []

    def advantages(self, batch: ScoredBatch) -> torch.Tensor:
        self.batches.append(batch)
        return super().advantages(batch)


def scored(groups: Sequence[Group]) -> ScoredBatch:
    flat_batch(groups, Seen(), PAD, LIMIT)
    return Seen.batches.pop()


def test_every_token_knows_its_node_its_turn_and_the_state_that_its_turn_started_from() -> None:
    batch = scored([branched(), short()])
    assert batch.nodes_BT.tolist() == [
        [0, 0, 1, 1, 2, 2, 3, -1, -1],
        [0, 0, 1, 1, 2, 2, 4, 4, 4],
        [0, 0, 5, *[-1] * 6],
        [6, 7, *[-1] * 7],
        [6, 8, *[-1] * 7],
    ]
    assert batch.turns_BT.tolist() == [
        [-1, -1, 0, 0, -1, -1, 1, -1, -1],
        [-1, -1, 0, 0, -1, -1, 1, 1, 1],
        [-1, -1, 0, *[-1] * 6],
        [-1, 0, *[-1] * 7],
        [-1, 0, *[-1] * 7],
    ]
    # 0: the first question, 1: after its only observation, 2: the second question.
    assert batch.states_BT.tolist() == [
        [-1, -1, 0, 0, -1, -1, 1, -1, -1],
        [-1, -1, 0, 0, -1, -1, 1, 1, 1],
        [-1, -1, 0, *[-1] * 6],
        [-1, 2, *[-1] * 7],
        [-1, 2, *[-1] * 7],
    ]
    assert batch.lengths_B.tolist() == [5, 7, 1, 1, 1] and batch.max_length == LIMIT


def searching(observations: Sequence[Sequence[int]]) -> Group:
    """A trajectory for each observation: prompt, call, observation, answer."""
    tree = TrajectoryTree()
    prompt = tree.add(None, Kind.PROMPT, [1], 0).id
    for path, tokens in enumerate(observations):
        seen = tree.add(written(tree, prompt, path, [2], [0.5]), Kind.OBSERVATION, tokens, path).id
        ended(tree, written(tree, seen, path, [3], [0.5]) if tokens else seen, path, Origin.GLOBAL, 0.0)
    return Group(Sample("searching", id="searching"), tree)


def test_states_are_shared_by_turns_of_one_group_that_follow_the_same_tokens() -> None:
    states = scored([searching([[7, 8], [7, 8], [7, 9], []]), searching([[7, 8]])]).states_BT
    assert states[:, 1].tolist() == [0, 0, 0, 0, 3], "the question"
    assert states[:, 4].tolist() == [1, 1, 2, -1, 4], "an observation that found no room starts no turn"


def test_a_turn_without_a_token_is_none() -> None:
    tree = TrajectoryTree()
    prompt = tree.add(None, Kind.PROMPT, [1], 0).id
    ended(tree, written(tree, written(tree, prompt, 0, [], []), 0, [2, 3], [0.5, 0.5]), 0, Origin.GLOBAL, 0.0)
    assert scored([Group(Sample("q", id="q"), tree)]).turns_BT.tolist() == [[-1, 0, 0]]


def test_a_broken_turn_that_the_policy_was_told_of_is_not_trained() -> None:
    """As if the broken turn were an observation: nothing that is trained depends on what it holds."""
    found = []
    for kind, error in ((Kind.POLICY, "broken"), (Kind.OBSERVATION, None)):
        tree = TrajectoryTree()
        prompt = tree.add(None, Kind.PROMPT, [1, 2], 0).id
        broken = tree.add(prompt, kind, [3, 4], 0)
        if error is not None:
            broken.error, broken.entropies, broken.logprobs = error, [9.0, 9.0], [-9.0, -9.0]
        told = tree.add(broken.id, Kind.OBSERVATION, [5], 0).id
        ended(tree, written(tree, told, 0, [6, 7], [0.5, 1.0]), 0, Origin.GLOBAL, 1.0)
        ended(tree, written(tree, prompt, 1, [8], [0.25]), 1, Origin.GLOBAL, 0.0)
        found.append(Group(Sample("told", id="told"), tree))
    for algorithm in (GRPO(), AEPO(), GiGPO(), ARPO(attribution="hard"), ReinforcePP(), DAPO()):
        masked, given = (flat_batch([group, short()], algorithm, PAD, LIMIT) for group in found)
        for name in ("tokens_BT", "loss_mask_BT", "old_logprobs_BT", "entropies_BT", "advantages_BT"):
            assert torch.equal(getattr(masked, name), getattr(given, name)), (algorithm.name, name)
    assert masked.loss_mask_BT[0].tolist() == [0, 0, 0, 0, 0, 1, 1]
    batch = scored(found[:1])
    assert batch.turns_BT.tolist() == [[-1, -1, -1, -1, -1, 0, 0], [-1, -1, 0, -1, -1, -1, -1]]
    assert batch.states_BT.tolist() == [[-1, -1, -1, -1, -1, 0, 0], [-1, -1, 1, -1, -1, -1, -1]]


def test_a_split_turn_is_one_turn_and_its_kept_tokens_are_shared() -> None:
    tree = TrajectoryTree()
    prompt = tree.add(None, Kind.PROMPT, [1], 0).id
    call = written(tree, prompt, 0, [2, 3, 4], [0.5] * 3)
    seen = tree.add(call, Kind.OBSERVATION, [7], 0).id
    ended(tree, written(tree, seen, 0, [5], [0.5]), 0, Origin.GLOBAL, 0.0)
    ended(tree, written(tree, tree.split(call, 2).id, 1, [6, 6], [0.5] * 2), 1, Origin.RESAMPLED, 1.0)
    group = Group(Sample("split", id="split"), tree.in_path_order())
    batch = scored([group])
    assert batch.nodes_BT.tolist() == [[0, 1, 1, 2, 3, 4], [0, 1, 1, 5, 5, -1]]
    assert batch.turns_BT.tolist() == [[-1, 0, 0, 0, -1, 1], [-1, 0, 0, 0, 0, -1]]
    assert batch.states_BT.tolist() == [[-1, 0, 0, 0, -1, 1], [-1, 0, 0, 0, 0, -1]]
    hard = flat_batch([group], ARPO(attribution="hard"), PAD, LIMIT)
    a, b = z_scores([0.0, 1.0])
    assert hard.advantages_BT.flatten().tolist() == pytest.approx([0, 0, 0, a, 0, a, 0, 0, 0, b, b, 0], abs=1e-5)


def test_advantages_of_the_baselines_are_those_worked_by_hand() -> None:
    def found(algorithm: Algorithm) -> list[float]:
        batch = flat_batch([branched(), short()], algorithm, PAD, LIMIT)
        return batch.advantages_BT[batch.loss_mask_BT != 0].tolist()

    (a, b, c), (d, e) = z_scores(REWARDS[0]), z_scores(REWARDS[1])
    shared = (a + b) / 2
    expected = [shared, shared, a, shared, shared, b, b, b, c, d, e]
    assert found(ARPO(attribution="hard")) == pytest.approx(expected, abs=1e-5)
    assert found(ARPO()) == pytest.approx([a, a, a, b, b, b, b, b, c, d, e], abs=1e-5)

    # 7 of 10 tokens are 2 into the last 5.
    late = z_scores([1.0, 0.0 - 2 / 5, 0.25])
    expected = [late[0]] * 3 + [late[1]] * 5 + [late[2], d, e]
    assert found(DAPO(overlong_buffer=0.5)) == pytest.approx(expected, abs=1e-5)

    returns = [1.0] * 3 + [0.0] * 5 + [0.25, 1.0, 0.5]
    expected = [(g - fmean(returns)) / (variance(returns) + 1e-8) ** 0.5 for g in returns]
    assert found(ReinforcePP()) == pytest.approx(expected, abs=1e-5)

    first, second = z_scores([0.5, 0.0, 0.25]), z_scores([1.0, 0.0])
    steps = [first[0]] * 2 + [second[0]] + [first[1]] * 2 + [second[1]] * 3 + [first[2], d, e]
    expected = [x + 2.0 * y for x, y in zip([a, a, a, b, b, b, b, b, c, d, e], steps, strict=True)]
    assert found(GiGPO(step_weight=2.0, gamma=0.5)) == pytest.approx(expected, abs=1e-5)


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
