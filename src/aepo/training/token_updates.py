"""What an update did to each token of a group: what it was worth, and how far the policy had moved. For the viewer."""

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
    """Of one group.

    Attributes:
        clip_low: Width of the clip range below 1.
        clip_high: Width of the clip range above 1.
        advantages: For each leaf, A of each token that the policy wrote on its walk, in order.
        ratios: For each node, r = exp(logp - old_logp) of each of its tokens as the update's last pass over it found
            it, before the optimizer step that followed; None where nothing was computed, and empty unless the policy
            wrote the node.
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
        """What `to_dict` gave.

        Args:
            data: As it was read.
            tree: The group's.

        Raises:
            ValueError: It is of another format, a part is missing, or it does not fit the tree.
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
    """What the update did to each group.

    Args:
        groups: Those that the batch was made of, in its order.
        batch: As it was trained on.
        seen_BT: What `update` filled in; NaN where nothing was computed.
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
