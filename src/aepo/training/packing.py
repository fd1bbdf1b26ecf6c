"""Packs trees into forward passes; trees that do not fit are split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from aepo.core.trie import Trie


def passes(tree: Trie, lengths_B: Tensor, max_tokens: int) -> list[Tensor]:
    """The row numbers of forward passes that read at most `max_tokens` distinct tokens each.

    Trajectories that share their first token are a tree. A tree that does not fit is split at its first branching:
    branches that fit are packed together after their common prefix, the others are split again. A prefix of several
    parts is read once for each part. Trees and parts are then packed into passes. `pack` does both.

    Args:
        tree: The trie of the trajectories.
        lengths_B: Their lengths in tokens; empty ones are in no pass.
        max_tokens: Limit of a pass; a longer trajectory is a pass of its own.
    """
    order, shared, lengths = tree.order_B.tolist(), tree.shared_B.tolist(), lengths_B[tree.order_B].tolist()
    trees: list[list[int]] = []
    for at, length in enumerate(lengths):
        if length and not shared[at]:
            trees.append([])
        if length:
            trees[-1].append(at)
    parts = [part for rows in trees for part in _split(rows, lengths, shared, max_tokens)]
    together = pack([_tokens(part, lengths, shared) for part in parts], max_tokens)
    return [torch.tensor([order[at] for part in numbers for at in parts[part]]) for numbers in together]


def pack(sizes: Sequence[int], room: int) -> list[list[int]]:
    """Indices of the items in each bin: the largest first, into the emptiest bin, or a new one if it does not fit.

    At first there are as many bins as the total size needs. An item that is larger than a bin has its own.
    """
    count = math.ceil(sum(min(size, room) for size in sizes) / max(room, 1)) or 1
    bins: list[list[int]] = [[] for _ in range(count)]
    filled = [0] * count
    for number in sorted(range(len(sizes)), key=lambda number: -sizes[number]):
        at = filled.index(min(filled))
        if bins[at] and filled[at] + sizes[number] > room:
            at = len(bins)
            bins.append([])
            filled.append(0)
        bins[at].append(number)
        filled[at] += sizes[number]
    return [numbers for numbers in bins if numbers]


def _split(rows: list[int], lengths: Sequence[int], shared: Sequence[int], room: int) -> list[list[int]]:
    """Parts of a tree that fit or have a single row; rows are numbered in the trie's order."""
    if len(rows) == 1 or _tokens(rows, lengths, shared) <= room:
        return [rows]
    fork = min(shared[at] for at in rows[1:])
    cuts = [0, *(i for i, at in enumerate(rows) if i and shared[at] == fork), len(rows)]
    branches = [rows[start:end] for start, end in pairwise(cuts)]
    sizes = [_tokens(branch, lengths, shared) for branch in branches]
    fitting = [i for i, size in enumerate(sizes) if fork < size <= room]
    together = pack([sizes[i] - fork for i in fitting], room - fork)
    parts = [sorted(at for n in numbers for at in branches[fitting[n]]) for numbers in together]
    for branch, size in zip(branches, sizes, strict=True):
        if size > max(fork, room):
            parts += _split(branch, lengths, shared, room)
    # A row that ends where the others branch adds no token to any part.
    ended = [at for branch, size in zip(branches, sizes, strict=True) if size == fork for at in branch]
    return [sorted(ended + parts[0]), *parts[1:]] if parts else [ended]


def _tokens(rows: Sequence[int], lengths: Sequence[int], shared: Sequence[int]) -> int:
    """Number of distinct tokens of rows of one tree."""
    joined = (min(shared[before + 1 : at + 1]) for before, at in pairwise(rows))
    return sum(lengths[at] for at in rows) - sum(joined)
