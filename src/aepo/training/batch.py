"""Makes tensors of groups, one padded trajectory per row, and divides the rows into optimizer steps and passes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from aepo.algorithms.base import Algorithm, ScoredBatch
from aepo.types import Group, turns_of

# The number that stands for turn and state of a token that is not trained.
OUTSIDE = (-1, -1)


@dataclass(frozen=True)
class Batch:
    """Trajectories as rows.

    Attributes:
        tokens_BT: Token ids; padding after the end of a row.
        loss_mask_BT: 1 where the token is trained; 0 on prompts, observations, padding, and broken turns after which
            the policy was told of its error.
        old_logprobs_BT: ln p under the policy that sampled; 0 where `loss_mask_BT` is 0.
        entropies_BT: Entropies in nats, under the policy that sampled; 0 where `loss_mask_BT` is 0.
        advantages_BT: The advantage of each token; 0 where `loss_mask_BT` is 0.
        groups_B: The number of the row's question.
        lengths_B: The number of tokens of each row.
    """

    tokens_BT: Tensor
    loss_mask_BT: Tensor
    old_logprobs_BT: Tensor
    entropies_BT: Tensor
    advantages_BT: Tensor
    groups_B: Tensor
    lengths_B: Tensor

    def rows(self, index_B: Tensor) -> Batch:
        """A batch of these rows, cut to the longest of them."""
        lengths_B = self.lengths_B[index_B]
        width = int(lengths_B.max())
        return Batch(
            self.tokens_BT[index_B, :width],
            self.loss_mask_BT[index_B, :width],
            self.old_logprobs_BT[index_B, :width],
            self.entropies_BT[index_B, :width],
            self.advantages_BT[index_B, :width],
            self.groups_B[index_B],
            lengths_B,
        )

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        return Batch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


def flat_batch(groups: Sequence[Group], algorithm: Algorithm, pad_token_id: int, max_length: int) -> Batch:
    """All trajectories of a step with their advantages, by the statistics of the whole step.

    Args:
        groups: The step's questions, scored.
        algorithm: Gives the advantages.
        pad_token_id: The id of the padding token.
        max_length: The largest number of a trajectory's tokens after the prompt.

    Raises:
        ValueError: A leaf has no reward.
    """
    rewards = [reward for group in groups for reward in group.rewards]
    numbers = [number for number, group in enumerate(groups) for _ in group.tree.leaves]
    trajectories = [trajectory for group in groups for trajectory in group.trajectories()]
    batch = Batch(
        _padded([t.tokens for t in trajectories], pad_token_id, torch.long),
        _padded([t.loss_mask for t in trajectories], 0, torch.long),
        _padded([t.logprobs for t in trajectories], 0, torch.float32),
        _padded([t.entropies for t in trajectories], 0, torch.float32),
        torch.zeros(()),
        torch.tensor(numbers),
        torch.tensor([len(t.tokens) for t in trajectories]),
    )
    nodes, turns, states = _places(groups)
    scored = ScoredBatch(
        torch.tensor(rewards),
        batch.groups_B,
        batch.entropies_BT,
        batch.loss_mask_BT,
        torch.tensor([len(t.tokens) - t.prompt_length for t in trajectories]),
        max_length,
        _padded(nodes, -1, torch.long),
        _padded(turns, -1, torch.long),
        _padded(states, -1, torch.long),
    )
    advantages_BT = algorithm.advantages(scored) * batch.loss_mask_BT
    return replace(batch, advantages_BT=advantages_BT)


def minibatches(groups_B: Tensor, count: int, rng: random.Random) -> list[Tensor]:
    """Row numbers of at most `count` optimizer steps; the trajectories of a question stay together."""
    names = groups_B.unique().tolist()
    rng.shuffle(names)
    count = min(count, len(names))
    return [torch.isin(groups_B, torch.tensor(names[part::count])).nonzero()[:, 0] for part in range(count)]


def micro_batches(lengths_B: Tensor, max_tokens: int) -> list[Tensor]:
    """Row numbers of forward passes: rows of similar length, as many as fit into `max_tokens` with padding.

    A longer row is a pass of its own.
    """
    parts: list[list[int]] = []
    for row in torch.argsort(lengths_B, descending=True, stable=True).tolist():
        # Rows are sorted, so the first row of a part is its longest.
        if parts and (len(parts[-1]) + 1) * int(lengths_B[parts[-1][0]]) <= max_tokens:
            parts[-1].append(row)
        else:
            parts.append([row])
    return [torch.tensor(part) for part in parts]


def _places(groups: Sequence[Group]) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
    """Node, turn and state of each token, one trajectory per row; see `ScoredBatch`."""
    nodes: list[list[int]] = []
    turns: list[list[int]] = []
    states: list[list[int]] = []
    known: dict[tuple[int, tuple[int, ...]], int] = {}
    nodes_before = 0
    for number, tree in enumerate(group.tree for group in groups):
        for leaf in tree.leaves:
            walk = tree.walk(leaf.node)
            places: dict[int, tuple[int, int]] = {}
            trained = [parts for parts in turns_of(walk) if any(part.tokens and part.trained for part in parts)]
            for turn, parts in enumerate(trained):
                assert parts[0].parent is not None
                start = (number, tuple(tree.nodes[parts[0].parent].tokens))
                place = (turn, known.setdefault(start, len(known)))
                places |= dict.fromkeys((part.id for part in parts if part.trained), place)
            nodes.append([nodes_before + node.id for node in walk for _ in node.tokens])
            turns.append([places.get(node.id, OUTSIDE)[0] for node in walk for _ in node.tokens])
            states.append([places.get(node.id, OUTSIDE)[1] for node in walk for _ in node.tokens])
        nodes_before += len(tree.nodes)
    return nodes, turns, states


def _padded(rows: Sequence[Sequence[float]], value: float, dtype: torch.dtype) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(row, dtype=dtype) for row in rows], batch_first=True, padding_value=value
    )
