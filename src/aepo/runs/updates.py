"""The effect of an update on each token of a group, as a tree file holds it beside the tree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aepo.types import Kind, TrajectoryTree

FORMAT = 1
_DIGITS = 5


@dataclass(frozen=True)
class TokenUpdates:
    """The token updates of one group.

    Attributes:
        clip_low: The width of the clip range below 1.
        clip_high: The width of the clip range above 1.
        advantages: For each leaf, A of each trained token on its walk, in order.
        ratios: For each node, r = exp(logp - old_logp) of each of its tokens in the update's last pass over it, before
            the optimizer step that followed; None for a token that was not computed or not trained. Empty if the policy
            did not write the node.
    """

    clip_low: float
    clip_high: float
    advantages: list[list[float]]
    ratios: list[list[float | None]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the numbers of tokens rounded to five digits."""
        advantages = [[_short(value) for value in values] for values in self.advantages]
        ratios = [[None if value is None else _short(value) for value in values] for values in self.ratios]
        return {"format": FORMAT, **vars(self), "advantages": advantages, "ratios": ratios}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], tree: TrajectoryTree) -> TokenUpdates:
        """Read the result of `to_dict`.

        Args:
            data: The plain values.
            tree: The group's tree.

        Raises:
            ValueError: The values have another format, a part is missing, or they do not fit the tree.
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


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
