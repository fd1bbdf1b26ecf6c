"""Rules of the rollout with their settings written flat, as users write them."""

from __future__ import annotations

from typing import Any

from aepo.core.entropy_branching import BalancedBranchSettings, EntropyBranching


def branching(group_size: int, **settings: Any) -> EntropyBranching:
    """AEPO's rules with these settings."""
    return EntropyBranching(group_size, BalancedBranchSettings(**settings))


def altered(rules: EntropyBranching, group_size: int | None = None, **settings: Any) -> EntropyBranching:
    """The same rules but for these settings."""
    return branching(group_size or rules.group_size, **{**rules.settings.model_dump(), **settings})
