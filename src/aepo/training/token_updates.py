"""Advantage and importance ratio of each token of a group in an update, for the viewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from aepo.types import Group, Kind, TrajectoryTree

if TYPE_CHECKING:
    from torch import Tensor

    from aepo.algorithms.base import Algorithm
    from aepo.training.batch import Batch

FORMAT = 1
_DIGITS = 5


@dataclass(frozen=True)
class TokenUpdates:
    """Token updates of one group.

    Attributes:
        clip_low: Width of the clip range below 1.
        clip_high: Width of the clip range above 1.
        advantages: For each leaf, A of each policy token on its walk, in order.
        ratios: For each node, r = exp(logp - old_logp) of each of its tokens in the update's last pass over it, before
            the optimizer step. None for tokens that were not computed; empty unless the policy wrote the node.
    """

    clip_low: float
    clip_high: float
    advantages: list[list[float]]
    ratios: list[list[float | None]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], tree: TrajectoryTree) -> TokenUpdates:
        """Read what `to_dict` wrote.

        Args:
            data: Plain values.
            tree: The group's tree.

        Raises:
            ValueError: The data is of another format, incomplete, or does not fit the tree.
        """
        if data.get("format") != FORMAT:
            raise ValueError(f"an update of format {data.get('format')!r}, this version reads {FORMAT}")
        try:
            found = cls(data["clip_low"], data["clip_high"], data["advantages"], data["ratios"])
        except KeyError as error:
            raise ValueError(f"an update without {error.args[0]!r}") from None
        written = [len(n.tokens) if n.kind is Kind.POLICY else 0 for n in tree.nodes]
        walks = [sum(written[n.id] for n in tree.walk(leaf.node)) for leaf in tree.leaves]
        if list(map(len, found.ratios)) != written or list(map(len, found.advantages)) != walks:
            raise ValueError("an update that does not fit its tree")
        return found


def token_updates(groups: Sequence[Group], batch: Batch, seen_BT: Tensor, algorithm: Algorithm) -> list[TokenUpdates]:
    """The token updates of each group.

    Args:
        groups: The groups of the batch, in its order.
        batch: The trained batch.
        seen_BT: Filled by `update`; NaN for tokens that were not computed.
        algorithm: Gives the clip range.
    """
    ratios_BT = (seen_BT - batch.old_logprobs_BT).clamp(-20, 20).exp()
    row = 0
    found: list[TokenUpdates] = []
    for group in groups:
        advantages: list[list[float]] = []
        ratios: list[list[float | None]] = [[] for _ in group.tree.nodes]
        for leaf in group.tree.leaves:
            trained_T = batch.loss_mask_BT[row] != 0
            advantages.append([_short(a) for a in batch.advantages_BT[row][trained_T].tolist()])
            end = 0
            for node in group.tree.walk(leaf.node):
                start, end = end, end + len(node.tokens)
                if node.kind is Kind.POLICY and not ratios[node.id]:
                    values = ratios_BT[row, start:end].tolist()
                    ratios[node.id] = [None if value != value else _short(value) for value in values]
            row += 1
        for node, values in zip(group.tree.nodes, ratios, strict=True):
            if node.kind is Kind.POLICY and not values:
                values.extend([None] * len(node.tokens))
        found.append(TokenUpdates(algorithm.clip_low, algorithm.clip_high, advantages, ratios))
    return found


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
