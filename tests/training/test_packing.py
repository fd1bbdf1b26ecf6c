"""Passes hold every trajectory once, stay inside their tokens, and split a tree only where it does not fit."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from aepo.core.trie import trie
from aepo.training.packing import pack, passes

Rows = list[tuple[int, list[int]]]
rows = st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(0, 1), max_size=7)), min_size=1, max_size=9)


def divided(rows: Rows, room: int) -> list[list[int]]:
    lengths = torch.tensor([len(ids) for _, ids in rows])
    tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(ids, dtype=torch.long) for _, ids in rows], True)
    return [part.tolist() for part in passes(trie(tokens, lengths, torch.tensor([g for g, _ in rows])), lengths, room)]


def distinct(rows: Rows, part: list[int]) -> int:
    return len({(rows[i][0], *rows[i][1][:n]) for i in part for n in range(1, len(rows[i][1]) + 1)})


def test_longest_first_into_the_emptiest_bin() -> None:
    assert pack([3, 5, 4, 2], 7) == [[1, 3], [2, 0]]
    assert pack([6, 6, 6, 1], 10) == [[0, 3], [1], [2]]
    assert pack([20, 3, 2], 10) == [[0], [1, 2]], "what is larger than a bin has one to itself"
    assert pack([], 5) == [] and pack([0, 0], 0) == [[0, 1]]


@given(st.lists(st.integers(0, 30), max_size=20), st.integers(0, 40))
def test_bins_hold_everything_once_and_no_more_than_fits(sizes: list[int], room: int) -> None:
    bins = pack(sizes, room)
    assert sorted(number for numbers in bins for number in numbers) == list(range(len(sizes)))
    assert all(sum(sizes[n] for n in numbers) <= room or len(numbers) == 1 for numbers in bins)
    assert sum(sizes) > room or len(bins) <= 1


@given(rows, st.integers(1, 40))
def test_passes_cover_all_trajectories_and_stay_inside_their_tokens(rows: Rows, room: int) -> None:
    parts = divided(rows, room)
    assert sorted(row for part in parts for row in part) == [i for i, (_, ids) in enumerate(rows) if ids]
    for part in parts:
        longest = max(len(rows[i][1]) for i in part)
        assert distinct(rows, part) <= room or distinct(rows, part) == longest > room, "only one long trajectory"


@given(rows)
def test_trees_that_fit_stay_whole(rows: Rows) -> None:
    trees: dict[tuple[int, int], list[int]] = {}
    for i, (group, ids) in enumerate(rows):
        if ids:
            trees.setdefault((group, ids[0]), []).append(i)
    room = max((distinct(rows, tree) for tree in trees.values()), default=1)
    parts = divided(rows, room)
    for tree in trees.values():
        assert sum(bool(set(tree) & set(part)) for part in parts) == 1
    assert sum(distinct(rows, part) for part in parts) == distinct(rows, list(range(len(rows))))


def test_a_tree_is_split_where_it_branches() -> None:
    # Two branches behind two tokens; the first of them branches again.
    tree = [(0, [1, 2, 3, 4, 5]), (0, [1, 2, 3, 4, 6]), (0, [1, 2, 7, 8])]
    assert divided(tree, 8) == [[0, 1, 2]]
    assert sorted(map(sorted, divided(tree, 7))) == [[0, 1], [2]]
    assert sorted(map(sorted, divided(tree, 5))) == [[0], [1], [2]]
    assert sorted(map(sorted, divided(tree, 1))) == [[0], [1], [2]], "nothing shorter than a trajectory"
    assert divided([(0, [1, 2]), (0, [1, 2, 3]), (0, [1])], 1) == [[2, 0, 1]], (
        "what ends inside another is read with it"
    )
