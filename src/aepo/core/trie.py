"""Token sequences whose common beginnings are stored once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class Trie:
    """Sequences of tokens, stored depth first; each common beginning is stored once.

    A token is stored right after its parent, or after all descendants of an earlier sibling. So the descendants of
    token m are one run right after it, and token n attends to m exactly if m <= n < until_N[m].

    Attributes:
        tokens_N: Ids.
        positions_N: The depth of each token: the number of tokens before it in its sequences.
        until_N: The end of the run of each token's descendants.
        places_BT: Index of each sequence's tokens in the trie; -1 past its end.
        order_B: The sequences, in the order in which their ends are stored.
        shared_B: For each of `order_B`, the number of tokens that it shares with the one before it.
    """

    tokens_N: Tensor
    positions_N: Tensor
    until_N: Tensor
    places_BT: Tensor
    order_B: Tensor
    shared_B: Tensor

    def to(self, device: torch.device) -> Trie:
        """The same trie on another device."""
        return Trie(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def trie(tokens_BT: Tensor, lengths_B: Tensor, groups_B: Tensor) -> Trie:
    """Store sequences so that tokens with the same prefix are one; only inside a group.

    Args:
        tokens_BT: Ids, not negative.
        lengths_B: Tokens of each row; the rest of the row is never read.
        groups_B: Integers; rows of different groups share nothing.

    Returns:
        The trie. Only `places_BT` and ties in `order_B` depend on the order of rows.
    """
    rows, width = tokens_BT.shape
    position_T = torch.arange(width, device=tokens_BT.device)
    order_B = _sorted(tokens_BT, lengths_B, groups_B)
    lengths_S, groups_S = lengths_B[order_B], groups_B[order_B]
    inside_ST = position_T < lengths_S[:, None]
    tokens_ST = tokens_BT[order_B].masked_fill(~inside_ST, -1)

    same_ST = (tokens_ST[1:] == tokens_ST[:-1]) & inside_ST[1:] & (groups_S[1:] == groups_S[:-1])[:, None]
    shared_S = torch.cat([lengths_S.new_zeros(min(rows, 1)), same_ST.long().cumprod(-1).sum(-1)])
    ends_S = (lengths_S - shared_S).cumsum(0)
    starts_S = torch.cat([ends_S.new_zeros(min(rows, 1)), ends_S])

    # A token belongs to the last row, up to its own, that does not share this position with the row before. Its
    # descendants end where the next such row starts.
    number_S1 = torch.arange(rows, device=tokens_BT.device)[:, None]
    begins_ST = shared_S[:, None] <= position_T
    owner_ST = torch.where(begins_ST, number_S1, 0).cummax(0).values
    places_ST = starts_S[owner_ST] + position_T - shared_S[owner_ST]
    next_ST = torch.where(begins_ST, number_S1, rows)[1:].flip(0).cummin(0).values.flip(0)
    next_ST = torch.cat([next_ST, next_ST.new_full((min(rows, 1), width), rows)])

    own_ST = begins_ST & inside_ST
    places_BT = torch.empty_like(places_ST)
    places_BT[order_B] = places_ST.masked_fill(~inside_ST, -1)
    return Trie(
        tokens_ST[own_ST],
        position_T.expand(rows, width)[own_ST],
        starts_S[next_ST][own_ST],
        places_BT,
        order_B,
        shared_S,
    )


def segments(until_N: Tensor) -> list[tuple[int, int, int]]:
    """The runs without a branch, as (start, end, end of the descendants), in order."""
    if not len(until_N):
        return []
    starts = [0, *((until_N[1:] != until_N[:-1]).nonzero()[:, 0] + 1).tolist(), len(until_N)]
    return [(start, end, int(until_N[start])) for start, end in pairwise(starts)]


def _sorted(tokens_BT: Tensor, lengths_B: Tensor, groups_B: Tensor) -> Tensor:
    groups, lengths, tokens = groups_B.tolist(), lengths_B.tolist(), tokens_BT.tolist()
    keys = [(group, row[:length]) for group, row, length in zip(groups, tokens, lengths, strict=True)]
    return torch.tensor(sorted(range(len(keys)), key=keys.__getitem__), dtype=torch.long, device=tokens_BT.device)
