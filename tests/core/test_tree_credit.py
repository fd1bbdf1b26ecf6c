"""Leaf weights and credit on trees that are worked by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aepo.core.advantages import group_relative
from aepo.core.tree_credit import path_weights, tree_relative

# Node 0 is the prompt. Leaf 0 branches at node 2 (leaf 2), and again at node 4 (leaves 3 and 4). Leaf 1 is alone.
#
#   0 - 1 - 2 - 3 - 4 - 5   leaf 0
#    \       \       \- 8   leaf 3
#     6       7       \ 9   leaf 4
NODES = torch.tensor(
    [
        [0, 1, 2, 3, 4, 5, 5],
        [0, 6, 6, -1, -1, -1, -1],
        [0, 1, 2, 7, -1, -1, -1],
        [0, 1, 2, 3, 4, 8, -1],
        [0, 1, 2, 3, 4, 9, 9],
    ]
)
REWARDS = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
ONE_GROUP = torch.zeros(5, dtype=torch.long)


def test_a_leaf_weighs_one_by_children_at_each_branch_point() -> None:
    assert path_weights(NODES).tolist() == pytest.approx([1 / 6, 1.0, 1 / 2, 1 / 6, 1 / 6])


def test_a_path_that_ends_at_a_branch_point_is_one_of_its_children() -> None:
    nodes = torch.tensor([[0, 1, 2, -1], [0, 1, 2, 3], [0, 1, 2, 4]])
    assert path_weights(nodes).tolist() == pytest.approx([1 / 3] * 3)


def test_starts_at_the_prompt_are_no_branches() -> None:
    assert path_weights(torch.tensor([[0, 1], [0, 2], [0, 3]])).tolist() == [1.0, 1.0, 1.0]


def test_worked_path_weights_with_the_groups_mean() -> None:
    # sum w = 2, mean = (1/6 + 1/6) / 2 = 1/6; var = 5/4 (1/6 - 1/36) = 25/144, std = 5/12.
    found = tree_relative(REWARDS, ONE_GROUP, NODES, "path", "group")
    by_row = [(5 / 6 / 2) * (5 / 6), (5 / 2) * (-1 / 6), (5 / 4) * (-1 / 6), (5 / 12) * (-1 / 6), (5 / 12) * (5 / 6)]
    expected = torch.tensor(by_row, dtype=torch.float64)[:, None] / (5 / 12 + 1e-6) * (NODES >= 0)
    assert torch.allclose(found, expected, atol=1e-12)


def test_worked_sibling_credit() -> None:
    # Equal weights: mean 2/5, std sqrt(0.3). Below node 2: (1 + 0 + 0 + 1) / 4 = 1/2; below node 4: 2/3.
    found = tree_relative(REWARDS, ONE_GROUP, NODES, "equal", "sibling") * (0.3**0.5 + 1e-6)
    assert found[0].tolist() == pytest.approx([0.6, 0.6, 0.6, 0.5, 0.5, 1 / 3, 1 / 3])
    assert found[1].tolist() == pytest.approx([-0.4, -0.4, -0.4, 0, 0, 0, 0])
    assert found[2].tolist() == pytest.approx([-0.4, -0.4, -0.4, -0.5, 0, 0, 0])
    assert found[3].tolist() == pytest.approx([-0.4, -0.4, -0.4, -0.5, -0.5, -2 / 3, 0])


def test_worked_path_weights_with_sibling_credit() -> None:
    # Below node 2: (1/6 + 1/6) / 1 = 1/3; below node 4: 2/3.
    found = tree_relative(REWARDS, ONE_GROUP, NODES, "path", "sibling") * (5 / 12 + 1e-6)
    assert found[0].tolist() == pytest.approx([5 / 12 * b for b in (5 / 6, 5 / 6, 5 / 6, 2 / 3, 2 / 3, 1 / 3, 1 / 3)])
    assert found[2].tolist() == pytest.approx([-5 / 4 * b for b in (1 / 6, 1 / 6, 1 / 6, 1 / 3, 0, 0, 0)])


@pytest.mark.parametrize("weights", ["equal", "path"])
def test_mixed_credit_is_half_of_each(weights: str) -> None:
    group, sibling, mixed = (
        tree_relative(REWARDS, ONE_GROUP, NODES, weights, c) for c in ("group", "sibling", "mixed")
    )
    assert torch.allclose(mixed, (group + sibling) / 2, atol=1e-12)


@st.composite
def forests(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rewards, groups and nodes of one to three questions of any shape."""
    walks: list[list[int]] = []
    groups: list[int] = []
    count = 0
    for group in range(draw(st.integers(1, 3))):
        root, count = count, count + 1
        inside = [[root]]
        for _ in range(draw(st.integers(1, 6))):
            inside.append([*draw(st.sampled_from(inside)), count])
            count += 1
        for walk in inside[1:]:
            walks.append([node for node in walk for _ in range(draw(st.integers(1, 2)) if node == walk[-1] else 1)])
            groups.append(group)
    rewards = draw(st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=len(walks), max_size=len(walks)))
    width = max(map(len, walks))
    nodes = torch.tensor([walk + [-1] * (width - len(walk)) for walk in walks])
    return torch.tensor(rewards, dtype=torch.float64), torch.tensor(groups), nodes


@given(forests())
def test_equal_leaves_and_the_groups_mean_are_the_z_score(forest: tuple[torch.Tensor, ...]) -> None:
    rewards, groups, nodes = forest
    expected = group_relative(rewards, groups)[:, None] * (nodes >= 0)
    assert torch.allclose(tree_relative(rewards, groups, nodes), expected, atol=1e-9)


@given(forests())
def test_weights_of_a_group_add_up_to_its_starts_at_the_prompt(forest: tuple[torch.Tensor, ...]) -> None:
    _, groups, nodes = forest
    weights = path_weights(nodes)
    for group in groups.unique():
        starts = len(nodes[groups == group, 1].unique())
        assert float(weights[groups == group].sum()) == pytest.approx(starts)


@given(forests(), st.sampled_from(["equal", "path"]), st.sampled_from(["group", "sibling", "mixed"]))
def test_neither_the_order_of_rows_nor_a_shift_of_rewards_matters(
    forest: tuple[torch.Tensor, ...], weights: str, credit: str
) -> None:
    rewards, groups, nodes = forest
    found = tree_relative(rewards, groups, nodes, weights, credit)
    back = torch.arange(len(rewards) - 1, -1, -1)
    assert torch.allclose(tree_relative(rewards[back], groups[back], nodes[back], weights, credit)[back], found)
    assert torch.allclose(tree_relative(rewards + 3, groups, nodes, weights, credit), found, atol=1e-6)
    for group in groups.unique():
        if len(rewards[groups == group].unique()) == 1:
            assert (found[groups == group] == 0).all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \(B,\), nodes"):
        tree_relative(REWARDS, ONE_GROUP, NODES[0])
    with pytest.raises(ValueError, match="unknown leaf_weights 'share'"):
        tree_relative(REWARDS, ONE_GROUP, NODES, "share")
    assert tree_relative(torch.tensor([1, 0]), torch.tensor([0, 0]), torch.tensor([[0, 1], [0, 2]])).dtype == (
        torch.float32
    )
