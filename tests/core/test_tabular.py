"""Which leaf weights and which credit leave the expected gradient as it is: all rollouts of a small policy, listed."""

import pytest
import torch
from torch import Tensor

from aepo.core.tree_credit import path_weights, tree_relative
from tests.core import tabular
from tests.core.tabular import PREFIX, SUFFIX, TRUE_GRADIENT, Path, Rollout, expected, rollouts


def by_state(path: Path) -> bool:
    """The entropy of the first token after the observation (W = 1), which is known before it is sampled."""
    return tabular.entropy(tabular.SECOND[path[0]]) < 0.6


def by_window(path: Path) -> bool:
    """The mean entropy of two tokens (W = 2): that of the second depends on the first, which the path has sampled."""
    first, second = tabular.SECOND[path[0]], tabular.THIRD[path[0], path[1]]
    return tabular.entropy(first) + tabular.entropy(second) > 1.2


def failed(path: Path) -> bool:
    """In retrospect: the trajectory has failed."""
    return bool(tabular.REWARD[path] == 0)


def always(path: Path) -> bool:
    return True


def never(path: Path) -> bool:
    return False


def weighted(weights: str):
    """Rewards as advantages, without a baseline."""

    def advantages(rollout: Rollout) -> Tensor:
        w = path_weights(rollout.nodes) if weights == "path" else torch.ones(len(rollout.paths), dtype=torch.float64)
        return (w * rollout.rewards * len(w) / w.sum())[:, None].expand(rollout.nodes.shape)

    return advantages


def centred(weights: str, credit: str):
    def advantages(rollout: Rollout) -> Tensor:
        one_group = torch.zeros(len(rollout.paths), dtype=torch.long)
        return tree_relative(rollout.rewards, one_group, rollout.nodes, weights, credit, standardized=False)

    return advantages


def bias(rule, weights: str, starts: int = 2, leftovers: bool = False) -> float:
    """Relative to the true gradient."""
    off = expected(rollouts(starts, rule, leftovers), weighted(weights)) - TRUE_GRADIENT
    return float(off.norm() / TRUE_GRADIENT.norm())


@pytest.mark.parametrize("rule", [never, always, by_state, by_window, failed])
def test_all_rollouts_are_listed(rule) -> None:
    assert sum(rollout.probability for rollout in rollouts(2, rule, leftovers=True)) == pytest.approx(1.0)


def test_rules_branch_at_some_places_only() -> None:
    for rule in (by_state, by_window, failed):
        assert 0 < sum(map(rule, tabular.PATHS)) < len(tabular.PATHS)
    assert len(set(map(by_window, tabular.PATHS[:4]))) == 2, "it depends on what the path wrote"


def test_path_weights_have_no_bias_where_the_rule_knows_only_what_comes_before() -> None:
    assert bias(by_state, "path") < 1e-12
    assert bias(by_state, "equal") > 0.01


def test_where_every_place_branches_alike_both_weights_are_right() -> None:
    for weights in ("equal", "path"):
        assert bias(always, weights) < 1e-12 and bias(never, weights) < 1e-12


def test_a_window_that_the_path_has_written_biases_both() -> None:
    assert bias(by_window, "path") > 0.01
    assert bias(by_window, "equal") > 0.01


def test_a_rule_that_looks_at_rewards_biases_both() -> None:
    assert bias(failed, "path") > 0.05
    assert bias(failed, "equal") > 0.05


def test_branching_failures_makes_a_place_look_better_than_it_is() -> None:
    true = sum(tabular.start(path) * float(tabular.REWARD[path]) for path in tabular.PATHS)
    # A failure gives half of its weight to a fresh try; below each first token that adds (1 - p) p / 2.
    gain = 0.0
    for first, chance in enumerate(tabular.FIRST.softmax(0).tolist()):
        below = [path for path in tabular.PATHS if path[0] == first]
        p = sum(tabular.after(path) * float(tabular.REWARD[path]) for path in below)
        gain += chance * (1 - p) * p / 2
    found = sum(r.probability * float((path_weights(r.nodes) * r.rewards).sum()) for r in rollouts(1, failed))
    assert found == pytest.approx(true + gain, abs=1e-12)


def test_leftover_starts_bias_a_little_because_they_tell_that_nothing_branched() -> None:
    assert 1e-3 < bias(by_state, "path", 2, leftovers=True) < bias(by_state, "equal", 2, leftovers=True)
    assert bias(always, "path", 2, leftovers=True) < 1e-12


def test_the_groups_mean_shrinks_the_gradient_of_independent_trajectories() -> None:
    for starts in (2, 3):
        found = expected(rollouts(starts, never), centred("equal", "group"))
        assert torch.allclose(found, (1 - 1 / starts) * TRUE_GRADIENT, atol=1e-12)


@pytest.mark.parametrize(("credit", "below"), [("group", 3 / 4), ("mixed", 5 / 8), ("sibling", 1 / 2)])
def test_what_a_baseline_with_the_own_reward_leaves_below_a_branch_point(credit: str, below: float) -> None:
    """Two starts, each with one branch; own share of the group's mean 1/4, of the siblings' 1/2, of the tree's 1/2."""
    for weights in ("equal", "path"):
        found = expected(rollouts(2, always), centred(weights, credit))
        assert torch.allclose(found[PREFIX], TRUE_GRADIENT[PREFIX] / 2, atol=1e-12)
        assert torch.allclose(found[SUFFIX], below * TRUE_GRADIENT[SUFFIX], atol=1e-12)
