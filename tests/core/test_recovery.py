"""AXPO's separated advantages, against rows worked by hand."""

import pytest
import torch

from aepo.core.recovery import separated

# Eight starts, of which the first is the source; four continuations share its node 1, the thinking.
STARTS = [[0, 1, 1, 2, 2]] + [[0, n, n, n, n] for n in range(10, 17)]
CONTINUATIONS = [[0, 1, 1, n, n] for n in range(20, 24)]
NODES = torch.tensor(STARTS + CONTINUATIONS)
MASK = torch.tensor([[0, 1, 1, 1, 1]] * 12)
REWARDS = [0, 0, 0, 0, 1, 0, 1, 0]
ONE_GROUP = torch.zeros(12, dtype=torch.long)
FAILED, SOLVED = -0.5400605582031753, 1.6201816746095261


@pytest.mark.parametrize(
    ("found", "prefix", "continuations"),
    [
        ([0, 1, 0, 0], 1.2076123955202949, [-0.499999000002, 1.499997000006, -0.499999000002, -0.499999000002]),
        ([0, 0, 0, 0], FAILED, [0.0] * 4),
        ([1, 1, 1, 1], 1.2076123955202949, [0.0] * 4),
    ],
)
def test_thinking_and_calls_are_judged_apart(found: list[int], prefix: float, continuations: list[float]) -> None:
    rewards = torch.tensor(REWARDS + found, dtype=torch.float64)
    advantages, mask = separated(rewards, ONE_GROUP, NODES, MASK)
    assert advantages[0].tolist() == pytest.approx([0, prefix, prefix, 0, 0], abs=1e-9)
    assert advantages[1:8, 1].tolist() == pytest.approx([FAILED] * 3 + [SOLVED, FAILED, SOLVED, FAILED], abs=1e-6)
    assert mask[0].tolist() == [False, True, True, False, False]
    assert mask[8:].tolist() == [[False, False, False, True, True]] * 4
    for row, value in enumerate(continuations, 8):
        assert advantages[row].tolist() == pytest.approx([0, 0, 0, value, value], abs=1e-6)


def test_a_group_in_which_nothing_was_sampled_again_is_the_z_score() -> None:
    rewards = torch.tensor(REWARDS, dtype=torch.float64)
    advantages, mask = separated(rewards, ONE_GROUP[:8], NODES[:8], MASK[:8])
    assert advantages[:, 1].tolist() == pytest.approx([FAILED] * 4 + [SOLVED, FAILED, SOLVED, FAILED], abs=1e-6)
    assert torch.equal(mask, MASK[:8] != 0)


def test_two_sources_of_a_group_are_apart() -> None:
    nodes = torch.tensor([[0, 1, 2], [0, 3, 4], [0, 5, 5], [0, 1, 6], [0, 3, 7], [0, 1, 8], [0, 3, 9]])
    rewards = torch.tensor([0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    advantages, mask = separated(rewards, torch.zeros(7, dtype=torch.long), nodes, torch.tensor([[0, 1, 1]] * 7))
    assert advantages[0, 1] > 0 > advantages[1, 1], "the first source recovered, the second did not"
    assert (advantages[3, 2] > 0 > advantages[5, 2]) and (advantages[[4, 6], 2] == 0).all()
    assert mask[0].tolist() == mask[1].tolist() == [False, True, False]


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be \(B,\), nodes"):
        separated(torch.zeros(2), torch.zeros(2), NODES, MASK)
