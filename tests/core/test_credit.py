import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aepo.core.credit import shared_mean, step_relative

# One row a trajectory: its reward, and the state that each of its turns started from with the turn's length.
trajectories = st.lists(
    st.tuples(st.sampled_from([0.0, 0.25, 1.0]), st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), max_size=4)),
    min_size=1,
    max_size=6,
)
WIDTH = 20


def rows(drawn, gap: int, shift: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rewards, turns and states, with `gap` tokens of others between turns, on rows that start at `shift`."""
    turns = torch.full((len(drawn), WIDTH + shift + 4 * gap), -1)
    states = torch.full_like(turns, -1)
    for row, (_, parts) in enumerate(drawn):
        at = shift
        for number, (state, size) in enumerate(parts):
            turns[row, at : at + size], states[row, at : at + size] = number, state
            at += size + gap
    return torch.tensor([reward for reward, _ in drawn], dtype=torch.float64), turns, states


def worked(drawn, gamma: float) -> list[list[float]]:
    """The advantage of each turn by the formula."""
    returns = [[reward * gamma ** (len(parts) - 1 - n) for n in range(len(parts))] for reward, parts in drawn]
    same: dict[int, list[float]] = {}
    for (_, parts), earned in zip(drawn, returns, strict=True):
        for (state, _), value in zip(parts, earned, strict=True):
            same.setdefault(state, []).append(value)

    def z(state: int, value: float) -> float:
        others = same[state]
        if len(set(others)) == 1:
            return 0.0
        return (value - statistics.fmean(others)) / (statistics.stdev(others) + 1e-6)

    return [
        [z(state, value) for (state, _), value in zip(parts, earned, strict=True)]
        for (_, parts), earned in zip(drawn, returns, strict=True)
    ]


def test_golden_step_advantages() -> None:
    drawn = [(1.0, [(0, 2), (1, 1), (2, 1)]), (0.0, [(0, 1), (3, 1), (4, 2)]), (1.0, [(0, 1), (5, 3)])]
    rewards, turns, states = rows(drawn, gap=1)
    found = step_relative(rewards, turns, states, 0.95)
    assert found[turns == 0].tolist() == pytest.approx([0.532413, 0.532413, -1.153561, 0.621148], abs=1e-6)
    assert (found[turns != 0] == 0).all(), "a turn alone in its set gets 0"


@given(trajectories, st.integers(0, 2), st.sampled_from([0.0, 0.95, 1.0]))
def test_turns_are_compared_with_those_of_the_same_state(drawn, gap: int, gamma: float) -> None:
    rewards, turns, states = rows(drawn, gap)
    found = step_relative(rewards, turns, states, gamma)
    assert (found[turns < 0] == 0).all()
    for row, expected in enumerate(worked(drawn, gamma)):
        for number, value in enumerate(expected):
            of_turn = found[row, turns[row] == number]
            assert of_turn.tolist() == pytest.approx([value] * len(of_turn), abs=1e-6)
            if value == 0.0:
                assert (of_turn == 0).all()


@given(trajectories, st.integers(1, 3))
def test_where_the_tokens_stand_and_what_is_between_them_changes_nothing(drawn, shift: int) -> None:
    rewards, turns, states = rows(drawn, 0)
    near = step_relative(rewards, turns, states)
    _, far_turns, far_states = rows(drawn, 2, shift)
    far = step_relative(rewards, far_turns, torch.where(far_turns < 0, 99, far_states))
    assert torch.equal(near[turns >= 0], far[far_turns >= 0])


@given(trajectories, st.integers(1, 5))
def test_a_turn_counts_once_however_long_it_is(drawn, size: int) -> None:
    long = [(reward, [(state, size) for state, _ in parts]) for reward, parts in drawn]
    short = [(reward, [(state, 1) for state, _ in parts]) for reward, parts in drawn]
    (rewards, turns, states), (_, one_turns, one_states) = rows(long, 0), rows(short, 0)
    repeated = step_relative(rewards, one_turns, one_states)[one_turns >= 0].repeat_interleave(size)
    assert torch.equal(step_relative(rewards, turns, states)[turns >= 0], repeated)


def test_golden_shared_prefix() -> None:
    nodes = torch.tensor([[0, 0, 1, 1, -1], [0, 0, 2, 2, 2], [0, 0, 3, -1, -1]])
    found = shared_mean(torch.tensor([1.2, 0.4, -0.6]), nodes)
    expected = [[1 / 3] * 2 + [1.2, 1.2, 0.0], [1 / 3] * 2 + [0.4] * 3, [1 / 3] * 2 + [-0.6, 0.0, 0.0]]
    assert torch.allclose(found, torch.tensor(expected))


@given(st.data(), st.integers(1, 6))
def test_a_shared_token_gets_the_mean_of_those_who_share_it(data: st.DataObject, count: int) -> None:
    numbers = st.lists(st.floats(-3.0, 3.0), min_size=count, max_size=count)
    advantages = torch.tensor(data.draw(numbers), dtype=torch.float64)
    # A trajectory takes one of two nodes at each depth; nodes of a depth have one length.
    walks = data.draw(st.lists(st.lists(st.integers(0, 1), min_size=3, max_size=3), min_size=count, max_size=count))
    sizes = data.draw(st.lists(st.integers(1, 3), min_size=3, max_size=3))
    nodes = torch.tensor([[2 * depth + way for depth, way in enumerate(w) for _ in range(sizes[depth])] for w in walks])
    nodes = torch.nn.functional.pad(nodes, (0, 2), value=-1)
    found = shared_mean(advantages, nodes)
    assert (found[:, -2:] == 0).all()
    for number in range(6):
        sharing = (nodes == number).any(-1)
        if sharing.any():
            expected = advantages[sharing].mean().item()
            assert found[nodes == number].tolist() == pytest.approx([expected] * int((nodes == number).sum()))
    # Hard attribution moves no credit between depths.
    assert found.sum(0)[:-2].tolist() == pytest.approx([advantages.sum().item()] * sum(sizes), abs=1e-9)


def test_a_token_of_its_own_keeps_its_advantage_exactly() -> None:
    advantages = torch.tensor([0.1, 0.3])
    assert torch.equal(shared_mean(advantages, torch.tensor([[0, 0, 0], [1, 1, 1]])), advantages[:, None].expand(2, 3))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        step_relative(torch.ones(2), torch.zeros(2, 3), torch.zeros(2, 1))
    with pytest.raises(ValueError, match=r"must be \(B,\) or \(B, T\) and nodes"):
        shared_mean(torch.ones(2, 1), torch.zeros(2, 3))
