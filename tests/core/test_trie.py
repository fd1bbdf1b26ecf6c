"""A trie holds each distinct beginning once, in an order in which what follows on a token is one run."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from aepo.core.trie import Trie, segments, trie

rows = st.lists(st.tuples(st.integers(0, 1), st.lists(st.integers(0, 2), max_size=6)), min_size=1, max_size=7)
Rows = list[tuple[int, list[int]]]


def sees(until_N: Tensor) -> Tensor:
    """(N, N) bool: the tokens (columns) that each token (row) of a trie attends to: its prefix and itself."""
    place_N = torch.arange(len(until_N))
    return (place_N <= place_N[:, None]) & (place_N[:, None] < until_N)


def made(rows: Rows, padding: int = 2) -> Trie:
    tokens = torch.full((len(rows), 7), padding)
    for row, (_, ids) in enumerate(rows):
        tokens[row, : len(ids)] = torch.tensor(ids, dtype=torch.long)
    return trie(tokens, torch.tensor([len(ids) for _, ids in rows]), torch.tensor([group for group, _ in rows]))


def test_a_trie_by_hand() -> None:
    tree = made([(0, [5, 6, 7]), (0, [5, 8]), (1, [5]), (0, [5, 6, 9, 9]), (0, [5, 6])])
    assert tree.tokens_N.tolist() == [5, 6, 7, 9, 9, 8, 5]
    assert tree.positions_N.tolist() == [0, 1, 2, 2, 3, 1, 0]
    assert tree.until_N.tolist() == [6, 5, 3, 5, 5, 6, 7]
    assert tree.places_BT[:, :4].tolist() == [
        [0, 1, 2, -1],
        [0, 5, -1, -1],
        [6, -1, -1, -1],
        [0, 1, 3, 4],
        [0, 1, -1, -1],
    ]
    assert tree.order_B.tolist() == [4, 0, 3, 1, 2] and tree.shared_B.tolist() == [0, 2, 2, 1, 0]
    assert segments(tree.until_N) == [(0, 1, 6), (1, 2, 5), (2, 3, 3), (3, 5, 5), (5, 6, 6), (6, 7, 7)]


@given(rows)
def test_each_distinct_beginning_is_stored_once(rows: Rows) -> None:
    tree = made(rows)
    places = {}
    for row, (group, ids) in enumerate(rows):
        own = tree.places_BT[row]
        assert (own[len(ids) :] == -1).all()
        assert tree.tokens_N[own[: len(ids)]].tolist() == ids
        assert tree.positions_N[own[: len(ids)]].tolist() == list(range(len(ids)))
        for length in range(1, len(ids) + 1):
            assert places.setdefault((group, *ids[:length]), int(own[length - 1])) == int(own[length - 1])
    assert sorted(places.values()) == list(range(len(tree.tokens_N)))


@given(rows)
def test_a_token_sees_itself_and_those_before_it_in_its_sequences(rows: Rows) -> None:
    tree = made(rows)
    expected = torch.zeros(len(tree.tokens_N), len(tree.tokens_N), dtype=torch.bool)
    for row, (_, ids) in enumerate(rows):
        own = tree.places_BT[row, : len(ids)]
        for number, place in enumerate(own):
            expected[place, own[: number + 1]] = True
    assert torch.equal(sees(tree.until_N), expected)


@given(rows)
def test_segments_are_runs_without_a_branch(rows: Rows) -> None:
    tree = made(rows)
    found = segments(tree.until_N)
    assert [place for start, end, _ in found for place in range(start, end)] == list(range(len(tree.tokens_N)))
    for start, end, until in found:
        assert (tree.until_N[start:end] == until).all() and until >= end
        assert torch.equal(tree.positions_N[start:end], tree.positions_N[start] + torch.arange(end - start))
        ends = until == end
        assert ends or tree.until_N[end] < until or tree.until_N[end] == until != int(tree.until_N[end - 1])


@given(rows, st.randoms())
def test_padding_and_the_order_of_rows_change_nothing(rows: Rows, random) -> None:
    order = list(range(len(rows)))
    random.shuffle(order)
    one, other = made(rows), made([rows[i] for i in order], padding=1)
    for name in ("tokens_N", "positions_N", "until_N", "shared_B"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert torch.equal(one.places_BT[order], other.places_BT)
