"""On the tree a step is the one on whole trajectories: loss, gradient and every metric, whatever the tree."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from aepo import api
from aepo.algorithms import AEPO, ARPO, AXPO, GRPO, Algorithm, AnyAlgorithm
from aepo.config import TrainConfig, TrustConfig
from aepo.core.aggregation import MODES, row_weights
from aepo.engines.local.logprobs import FrozenLogprobs
from aepo.engines.local.policy import LocalPolicy
from aepo.training.batch import Batch, flat_batch
from aepo.training.entropy_control import with_bonus
from aepo.training.step import Learner, NonFiniteLoss, update
from aepo.training.tree import Forest, forest
from aepo.training.trust import Trust
from aepo.types import Group, Kind, Leaf, Origin, Sample, StopReason, TrajectoryTree

KINDS: tuple[type[Algorithm], ...] = get_args(get_args(AnyAlgorithm)[0])
ONLY_ON_THE_TREE = {"train/distinct_tokens", "train/sharing", "train/repeated_tokens"}
LIMIT = 12

ids = st.lists(st.integers(6, 8), max_size=4)
"""Few different ones, so that independent trajectories often begin alike."""


@st.composite
def groups(draw: st.DrawFn) -> list[Group]:
    """Questions with trees of any shape: chains and fans, observations anywhere, empty turns, ends inside others.

    Some turns broke the protocol and are not trained.
    """
    found = []
    for number in range(draw(st.integers(1, 3))):
        tree = TrajectoryTree()
        tree.add(None, Kind.PROMPT, [number + 3, 5, *draw(ids)], 0)
        for _ in range(draw(st.integers(1, 7))):
            parent = draw(st.integers(0, len(tree.nodes) - 1))
            node = tree.add(parent, draw(st.sampled_from([Kind.POLICY, Kind.POLICY, Kind.OBSERVATION])), draw(ids), 0)
            if node.kind is Kind.POLICY and draw(st.integers(0, 4)) == 0:
                node.error = "broken"
        inner = {node.parent for node in tree.nodes}
        for node in tree.nodes[1:]:
            if node.id not in inner or draw(st.integers(0, 4)) == 0:
                reward = draw(st.sampled_from([0.0, 0.25, 1.0]))
                tree.leaves.append(Leaf(len(tree.leaves), node.id, Origin.GLOBAL, StopReason.ANSWER, reward=reward))
        found.append(Group(Sample(str(number), id=str(number)), tree))
    return found


@pytest.fixture(scope="module")
def models(model_folder: Path) -> tuple[LocalPolicy, FrozenLogprobs]:
    """A policy, and what it was before it moved a little."""
    policy = api.load_policy(str(model_folder))
    reference = policy.frozen()
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(1.03)
    return policy, reference


def sampled(policy: LocalPolicy, groups: list[Group], algorithm: Algorithm, noise: float, seed: int) -> Batch:
    """The trajectories with old log-probabilities near the policy's own, one for each token of a tree."""
    chance = torch.Generator().manual_seed(seed)
    batch = flat_batch(groups, GRPO(), 0, LIMIT)
    with torch.no_grad():
        scores_BT = policy.score(batch.tokens_BT, batch.loss_mask_BT, 1.0)
    trajectories = [(group, trajectory) for group in groups for trajectory in group.trajectories()]
    for row, (group, trajectory) in enumerate(trajectories):
        start = 0
        for node in (group.tree.nodes[n] for n in trajectory.nodes):
            end = start + len(node.tokens)
            if node.kind is Kind.POLICY:
                moved = scores_BT[row, start:end] + noise * torch.randn(end - start, generator=chance)
                node.logprobs = moved.tolist()
                node.entropies = (2 * torch.rand(end - start, generator=chance)).tolist()
            start = end
    return flat_batch(groups, algorithm, 0, LIMIT)


def step(policy: LocalPolicy, algorithm: Algorithm, batch: Batch, **changes: Any) -> tuple[Tensor, dict[str, float]]:
    """Gradient and metrics of one optimizer step that changes nothing."""
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1.0)
    of_run = {name: changes.pop(name, None) for name in ("reference", "trust")}
    settings = TrainConfig(**{"minibatches": 1, "max_grad_norm": 1e9, "micro_batch_tokens": 10**6, **changes})
    learner = Learner(policy, optimizer, schedule, algorithm, settings, **of_run)
    metrics = update(learner, batch, random.Random(0))
    return torch.cat([p.grad.flatten() for p in policy.parameters()]), metrics


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    trees=groups(),
    aggregation=st.sampled_from(MODES),
    budget=st.sampled_from([1, 5, 9, 10**6]),
    noise=st.sampled_from([0.0, 1e-6, 0.5]),
    with_reference=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_step_on_the_tree_is_that_on_whole_trajectories(
    models: tuple[LocalPolicy, FrozenLogprobs],
    kind: type[Algorithm],
    trees: list[Group],
    aggregation: str,
    budget: int,
    noise: float,
    with_reference: bool,
    seed: int,
) -> None:
    policy, frozen = models
    algorithm = kind(aggregation=aggregation, kl_weight=0.2 * with_reference)
    batch = sampled(policy, trees, algorithm, noise, seed)
    reference = frozen if with_reference else None
    flat, flat_metrics = step(policy, algorithm, batch, layout="flat", reference=reference)
    tree, tree_metrics = step(policy, algorithm, batch, layout="tree", reference=reference, micro_batch_tokens=budget)
    assert (tree - flat).abs().max() <= 1e-5 * max(1.0, float(flat.abs().max()))
    assert tree_metrics.keys() - flat_metrics.keys() == ONLY_ON_THE_TREE
    assert {name: tree_metrics[name] for name in flat_metrics} == pytest.approx(flat_metrics, rel=1e-5, abs=1e-5)
    assert tree_metrics["train/sharing"] >= 1.0
    if budget == 10**6:
        assert tree_metrics["train/repeated_tokens"] == 0


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    trees=groups(),
    kind=st.sampled_from([AEPO, ARPO, AXPO]),
    leaf_weights=st.sampled_from(["equal", "path"]),
    credit=st.sampled_from(["group", "sibling", "mixed"]),
    weight=st.sampled_from([-0.2, 0.2, -2.0]),
    aggregation=st.sampled_from(MODES),
    seed=st.integers(0, 99),
)
def test_leaf_weights_and_credit_are_exact_on_the_tree(
    models: tuple[LocalPolicy, FrozenLogprobs],
    trees: list[Group],
    kind: type[Algorithm],
    leaf_weights: str,
    credit: str,
    weight: float,
    aggregation: str,
    seed: int,
) -> None:
    policy, _ = models
    algorithm = kind(leaf_weights=leaf_weights, credit=credit, entropy_weight=weight, aggregation=aggregation)
    batch = sampled(policy, trees, algorithm, 0.5, seed)
    flat, _ = step(policy, algorithm, batch, layout="flat")
    tree, _ = step(policy, algorithm, batch, layout="tree")
    assert (tree - flat).abs().max() <= 1e-5 * max(1.0, float(flat.abs().max()))


@pytest.mark.parametrize("rule", ["mask_tv", "mask_kl", "switch", "penalty"])
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trees=groups(), estimate=st.sampled_from(["binary", "k3"]), seed=st.integers(0, 99))
def test_every_rule_of_trust_is_exact_on_the_tree(
    models: tuple[LocalPolicy, FrozenLogprobs], rule: str, trees: list[Group], estimate: str, seed: int
) -> None:
    policy, _ = models
    batch = with_bonus(sampled(policy, trees, AEPO(), 0.5, seed), 0.01)
    bound = None if rule == "penalty" else 0.02
    found = []
    for layout in ("flat", "tree"):
        trust = Trust(TrustConfig(rule=rule, bound=bound, estimate=estimate))
        found.append(step(policy, AEPO(), batch, layout=layout, trust=trust))
        beta = trust.log_beta
    (flat, flat_metrics), (tree, tree_metrics) = found
    assert (tree - flat).abs().max() <= 1e-5 * max(1.0, float(flat.abs().max()))
    assert {name: tree_metrics[name] for name in flat_metrics} == pytest.approx(flat_metrics, rel=1e-5, abs=1e-5)
    if rule in ("switch", "penalty"):
        assert flat_metrics["trust/beta"] == pytest.approx(0.1) and beta != math.log(0.1)
    else:
        assert "trust/beta" not in flat_metrics and beta == math.log(0.1)


def chain(tree: TrajectoryTree, parent: int, tokens: list[int], logprobs: list[float], kind: Kind = Kind.POLICY) -> int:
    node = tree.add(parent, kind, tokens, 0)
    if kind is Kind.POLICY:
        node.logprobs, node.entropies = logprobs, [0.5] * len(tokens)
    return node.id


def handmade() -> Group:
    """One branch; and a trajectory that was sampled on its own and begins like the other two."""
    tree = TrajectoryTree()
    tree.add(None, Kind.PROMPT, [3, 4], 0)
    search = chain(tree, 0, [6, 7], [-1.0, -2.0])
    seen = chain(tree, search, [5, 5], [], Kind.OBSERVATION)
    again = chain(tree, 0, [6, 7, 8], [-1.0, -2.5, -3.0])
    for path, (end, reward) in enumerate(
        [(chain(tree, seen, [6], [-0.5]), 1.0), (chain(tree, seen, [8, 8], [-0.25, -0.75]), 0.0), (again, 0.25)]
    ):
        tree.leaves.append(Leaf(path, end, Origin.GLOBAL, StopReason.ANSWER, reward=reward))
    return Group(Sample("handmade", id="handmade"), tree)


def grown(batch: Batch, mode: str = "token-mean", budget: int = 10**6) -> Forest:
    return forest(batch, row_weights(batch.loss_mask_BT, mode), budget)


def by_token(found: Forest) -> dict[tuple[int, int, float], tuple[float, ...]]:
    """Worth of each term of a single pass by (place of the token before, id, old log-probability)."""
    (batch,) = found.batches
    terms = batch.terms
    return {
        (int(batch.places_K[k]), int(batch.targets_K[k]), round(float(old), 4)): tuple(map(float, values))
        for k, old, *values in zip(
            terms.token_M,
            terms.old_logprobs_M,
            terms.positive_M,
            terms.negative_M,
            terms.weight_M,
            terms.count_M,
            terms.good_M,
            terms.bad_M,
            strict=True,
        )
    }


def test_a_token_carries_what_it_is_worth_to_every_trajectory_that_contains_it() -> None:
    batch = flat_batch([handmade()], GRPO(), 0, LIMIT)
    advantages = torch.tensor([2.0, -1.0, 0.5])
    batch = replace(batch, advantages_BT=advantages[:, None] * batch.loss_mask_BT)
    found = grown(batch)
    # Read: 3 4 6 7, then 5 5 behind which 8 is read (its follower is scored), and nothing after the last one.
    assert found.batches[0].tree.tokens_N.tolist() == [3, 4, 6, 7, 5, 5, 8]
    assert (found.flat_tokens, found.distinct_tokens, found.repeated_tokens) == (6 + 7 + 4, 7, 0)
    n = 3 + 4 + 3
    expected = {
        # All three agree on the first token; the second has two old log-probabilities, the third token only one.
        (1, 6, -1.0): (2.5 / n, 1 / n, 3 / n, 3, 2, 1),
        (2, 7, -2.0): (2 / n, 1 / n, 2 / n, 2, 1, 1),
        (2, 7, -2.5): (0.5 / n, 0, 1 / n, 1, 1, 0),
        (3, 8, -3.0): (0.5 / n, 0, 1 / n, 1, 1, 0),
        (5, 6, -0.5): (2 / n, 0, 1 / n, 1, 1, 0),
        (5, 8, -0.25): (0, 1 / n, 1 / n, 1, 0, 1),
        (6, 8, -0.75): (0, 1 / n, 1 / n, 1, 0, 1),
    }
    assert by_token(found) == {key: pytest.approx(values, abs=1e-6) for key, values in expected.items()}
    assert len(found.batches[0].targets_K) == 6, "two terms of one token need one score"


def test_each_trajectory_weighs_what_the_aggregation_says() -> None:
    batch = flat_batch([handmade()], GRPO(), 0, LIMIT)
    weights = by_token(grown(batch, "seq-mean-token-mean"))
    assert weights[1, 6, -1.0][2] == pytest.approx((1 / 3 + 1 / 4 + 1 / 3) / 3)
    assert weights[5, 8, -0.25][2] == pytest.approx(1 / 4 / 3)
    assert by_token(grown(batch, "seq-mean-token-sum"))[2, 7, -2.0][2] == pytest.approx(2 / 3)


def test_what_is_repeated_after_a_split_is_counted_and_scored_once() -> None:
    tree = TrajectoryTree()
    tree.add(None, Kind.PROMPT, [3, 4], 0)
    stem = chain(tree, 0, [6, 7], [-1.0, -2.0])
    for path, (parent, tokens) in enumerate([(stem, [5]), (stem, [6]), (0, [8, 9])]):
        end = chain(tree, parent, tokens, [-0.5] * len(tokens))
        tree.leaves.append(Leaf(path, end, Origin.GLOBAL, StopReason.ANSWER, reward=float(path == 0)))
    batch = flat_batch([Group(Sample("forked", id="forked"), tree)], GRPO(), 0, LIMIT)
    whole, split = grown(batch), grown(batch, budget=4)
    # Read: 3 4 6 7 and 3 4 8; last tokens are only scored.
    assert [len(part.tree.tokens_N) for part in whole.batches] == [5] and whole.repeated_tokens == 0
    assert [len(part.tree.tokens_N) for part in split.batches] == [4, 3] and split.repeated_tokens == 2
    assert (split.flat_tokens, split.distinct_tokens) == (whole.flat_tokens, whole.distinct_tokens) == (11, 5)
    assert sum(len(part.terms.count_M) for part in split.batches) == len(whole.batches[0].terms.count_M) == 6


def test_trajectories_that_nobody_learns_from_are_not_computed(models: tuple[LocalPolicy, FrozenLogprobs]) -> None:
    policy, reference = models
    batch = sampled(policy, [handmade()], GRPO(), 0.1, 0)
    batch = replace(batch, advantages_BT=batch.advantages_BT * torch.tensor([[1.0], [0.0], [1.0]]))
    _, metrics = step(policy, GRPO(), batch)
    assert metrics["train/idle_share"] == pytest.approx(1 / 3)
    assert metrics["train/distinct_tokens"] == 6, "the branch of the second trajectory is left out"
    _, metrics = step(policy, GRPO(kl_weight=0.1), batch, reference=reference)
    assert metrics["train/distinct_tokens"] == 7, "the reference wants it"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_advantage_that_is_not_finite_is_refused(models: tuple[LocalPolicy, FrozenLogprobs], value: float) -> None:
    batch = sampled(models[0], [handmade()], GRPO(), 0.1, 0)
    batch.advantages_BT[0, 2] = value
    with pytest.raises(NonFiniteLoss):
        step(models[0], GRPO(), batch)
