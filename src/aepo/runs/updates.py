"""What an update did to each token of a group, as a tree file holds it beside the tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aepo.types import Kind, TrajectoryTree

FORMAT = 1


@dataclass(frozen=True)
class TokenUpdates:
    """Of one group.

    Attributes:
        clip_low: Width of the clip range below 1.
        clip_high: Width of the clip range above 1.
        advantages: For each leaf, A of each trained token on its walk, in order.
        ratios: For each node, r = exp(logp - old_logp) of each of its tokens as the update's last pass over it found
            it, before the optimizer step that followed; None where nothing was computed or trained, and empty unless
            the policy wrote the node.
    """

    clip_low: float
    clip_high: float
    advantages: list[list[float]]
    ratios: list[list[float | None]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the lists are the same."""
        return {"format": FORMAT, **vars(self)}

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
        trained = [sum(written[n.id] for n in tree.walk(leaf.node) if n.trained) for leaf in tree.leaves]
        if list(map(len, found.ratios)) != written or list(map(len, found.advantages)) != trained:
            raise ValueError("an update that does not fit its tree")
        return found
