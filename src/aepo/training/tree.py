"""Trains on the tree: each distinct token of a question's trajectories is computed once, forward and backward.

Trajectories of one question share their common prefix, whether one branched from the other or both were sampled with
the same tokens. A shared token has one log-probability, and losses are positively homogeneous in A. So two weights per
token hold its advantages in all trajectories that contain it.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields, replace

import torch
from torch import Tensor

from aepo.core.trie import Trie, trie
from aepo.training.batch import Batch
from aepo.training.packing import passes


@dataclass(frozen=True)
class LossTerms:
    """The terms of a loss: scored tokens, each with an old log-probability and weights.

    Trajectories that branched share the old log-probability. Trajectories that were sampled with the same tokens may
    have two that differ by rounding; then the token has two terms.

    Attributes:
        token_M: The number of the term's token among the scored tokens.
        old_logprobs_M: ln p under the policy that sampled.
        positive_M: The sum of w_i A_i over the trajectories that contain the token and have A_i > 0.
        negative_M: The sum of w_i |A_i| over those with A_i < 0.
        weight_M: The sum of w_i.
        count_M: The number of trajectories that contain the token.
        good_M: The number of these with A_i > 0.
        bad_M: The number of these with A_i < 0.
    """

    token_M: Tensor
    old_logprobs_M: Tensor
    positive_M: Tensor
    negative_M: Tensor
    weight_M: Tensor
    count_M: Tensor
    good_M: Tensor
    bad_M: Tensor

    def select(self, index: Tensor) -> LossTerms:
        """The terms with these indices."""
        return LossTerms(*(getattr(self, field.name)[index] for field in fields(self)))


@dataclass(frozen=True)
class TreeBatch:
    """One forward and backward pass.

    Attributes:
        tree: The tokens that the model reads.
        places_K: The index in the trie of the token before each scored token.
        targets_K: The ids of the scored tokens.
        terms: The terms of the loss.
        numbers_M: The number of each term among those of the forest.
    """

    tree: Trie
    places_K: Tensor
    targets_K: Tensor
    terms: LossTerms
    numbers_M: Tensor

    def to(self, device: torch.device) -> TreeBatch:
        """The same pass on another device."""
        terms = LossTerms(*(getattr(self.terms, field.name).to(device) for field in fields(self.terms)))
        places_K, targets_K = self.places_K.to(device), self.targets_K.to(device)
        return TreeBatch(self.tree.to(device), places_K, targets_K, terms, self.numbers_M)


@dataclass(frozen=True)
class Reading:
    """The number of tokens that the model reads in an optimizer step, or a part of it; parts add up with `+`.

    Attributes:
        idle_share: The share of trajectories that were not computed, see `update`.
        distinct_tokens: The number of tokens of the tree; 0 on whole trajectories.
        repeated_tokens: The number of tokens that are read again because a tree was split.
        flat_tokens: The number of tokens that the model would read on whole trajectories.
    """

    idle_share: float = 0.0
    distinct_tokens: float = 0.0
    repeated_tokens: float = 0.0
    flat_tokens: float = 0.0

    def __add__(self, other: Reading) -> Reading:
        """The sum of both parts."""
        return Reading(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Forest:
    """Trajectories as tries.

    Attributes:
        batches: The forward passes; their losses add up to the trajectories' loss.
        flat_tokens: The number of read tokens, counted in every trajectory that contains them.
        distinct_tokens: The number of read tokens, each counted once.
        row_E: The row of each trained token, with an entry for every trajectory that contains it.
        position_E: The token's position in the row.
        term_E: The number of the token's term.
    """

    batches: list[TreeBatch]
    flat_tokens: int
    distinct_tokens: int
    row_E: Tensor
    position_E: Tensor
    term_E: Tensor

    @property
    def repeated_tokens(self) -> int:
        """Number of tokens that are read again because trees were split."""
        return sum(len(batch.tree.tokens_N) for batch in self.batches) - self.distinct_tokens

    @property
    def reading(self) -> Reading:
        """The number of tokens that the model reads."""
        return Reading(0.0, self.distinct_tokens, self.repeated_tokens, self.flat_tokens)

    def spread(self, values_M: Tensor, out_BT: Tensor) -> None:
        """Write one value per term to its token's entry in every trajectory that contains it."""
        out_BT[self.row_E, self.position_E] = values_M[self.term_E]


def forest(batch: Batch, weights_B: Tensor, max_tokens: int) -> Forest:
    """Divide trajectories into forward passes on the tree.

    A trajectory is read up to the token before its last trained one.

    Args:
        batch: The computed trajectories, on the CPU.
        weights_B: w_i, the weight of each trajectory's tokens (`row_weights`).
        max_tokens: Limit of a pass; a longer trajectory is a pass of its own.
    """
    trained_BT = batch.loss_mask_BT != 0
    lengths_B = (trained_BT * torch.arange(trained_BT.shape[1])).amax(-1)
    whole = trie(batch.tokens_BT, lengths_B, batch.groups_B)
    row_E, position_E = batch.loss_mask_BT.nonzero(as_tuple=True)
    term_E, first_M, terms = _terms(batch, whole, weights_B, row_E, position_E)
    row_M, position_M = row_E[first_M], position_E[first_M]
    pass_B, local_B = torch.full_like(lengths_B, -1), torch.zeros_like(lengths_B)
    batches = []
    for number, rows_R in enumerate(passes(whole, lengths_B, max_tokens)):
        pass_B[rows_R], local_B[rows_R] = number, torch.arange(len(rows_R))
        mine_M = pass_B[row_M] == number
        part = batch.rows(rows_R)
        tree = trie(part.tokens_BT, lengths_B[rows_R], part.groups_B)
        own, row, position = terms.select(mine_M), local_B[row_M[mine_M]], position_M[mine_M]
        tokens_K, token_M = own.token_M.unique(return_inverse=True)
        places_K, targets_K = torch.empty_like(tokens_K), torch.empty_like(tokens_K)
        places_K[token_M] = tree.places_BT[row, position - 1]
        targets_K[token_M] = part.tokens_BT[row, position]
        numbers_M = mine_M.nonzero()[:, 0]
        batches.append(TreeBatch(tree, places_K, targets_K, replace(own, token_M=token_M), numbers_M))
    return Forest(batches, int(lengths_B.sum()), len(whole.tokens_N), row_E, position_E, term_E)


def _terms(
    batch: Batch, whole: Trie, weights_B: Tensor, row_E: Tensor, position_E: Tensor
) -> tuple[Tensor, Tensor, LossTerms]:
    """The term of each trained token, one such token per term, whose pass scores the term, and all terms."""
    target_E, old_E = batch.tokens_BT[row_E, position_E], batch.old_logprobs_BT[row_E, position_E].float()
    before_E = whole.places_BT[row_E, position_E - 1]
    token_E = _numbered(before_E, target_E)
    term_E = _numbered(token_E, old_E.view(torch.int32).long() + 2**31)
    entries = len(term_E)
    count = int(term_E.max()) + 1 if entries else 0
    first_M = term_E.new_full((count,), entries).scatter_reduce(0, term_E, torch.arange(entries), "amin")
    advantage_E, weight_E = batch.advantages_BT[row_E, position_E].double(), weights_B[row_E].double()
    bad_E = advantage_E < 0

    def summed(values_E: Tensor) -> Tensor:
        return torch.zeros(count, dtype=torch.float64).index_add(0, term_E, values_E.double()).float()

    terms = LossTerms(
        token_E[first_M],
        old_E[first_M],
        # A NaN stays in the sum, so that the loss shows it.
        summed((weight_E * advantage_E).masked_fill(bad_E, 0.0)),
        summed((-weight_E * advantage_E).masked_fill(~bad_E, 0.0)),
        summed(weight_E),
        summed(torch.ones_like(weight_E)),
        summed(advantage_E > 0),
        summed(bad_E),
    )
    return term_E, first_M, terms


def _numbered(high_E: Tensor, low_E: Tensor) -> Tensor:
    """A number for each different pair; the second below 2^32."""
    return (high_E * 2**32 + low_E).unique(return_inverse=True)[1]
