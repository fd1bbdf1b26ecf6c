"""The entries of a comparison: an algorithm, or an algorithm with a part switched off.

An entry holds its changes to the settings that all entries share.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from aepo.config import ConfigError, Section, algorithm_names, flat, merged

ABLATIONS: dict[str, dict[str, Any]] = {
    "aepo-no-budget": {"algorithm.name": "aepo", "algorithm.dynamic_budget": False},
    "aepo-no-penalty": {"algorithm.name": "aepo", "algorithm.branch_penalty": False},
    "aepo-no-clip": {"algorithm.name": "aepo", "algorithm.entropy_clip": False},
    "aepo-no-advantage": {"algorithm.name": "aepo", "algorithm.entropy_advantage": False},
    "aepo-random": {"algorithm.name": "aepo", "algorithm.branch_rule": "random"},
}
SHARED_BY_ENTRIES = {
    "task": "the entries would have different tasks, and nothing could be compared",
    "evaluation.questions": "every entry is measured in the same way",
    "evaluation.samples": "every entry is measured in the same way",
    "evaluation.greedy": "every entry is measured in the same way",
    "seed": "every entry runs with every seed of the comparison",
    "run": "the run folders lie in the comparison's",
    "train.steps": "the comparison's budget ends a run",
    "train.max_trajectories": "the comparison's budget ends a run",
    "train.max_sampled_tokens": "the comparison's budget ends a run",
    "train.max_executed_calls": "the comparison's budget ends a run",
}
"""The settings that no entry may set, each with the reason."""


class Entry(Section):
    """One side of the comparison.

    Attributes:
        label: The entry's name in table, figures and folders.
        overrides: Changes to the base configuration, by dotted key.
    """

    label: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")
    overrides: dict[str, Any] = Field(default_factory=dict)


def named(name: str) -> Entry:
    """The entry of an algorithm's name, or of a name in `ABLATIONS`; ConfigError names the nearest known one."""
    if name in ABLATIONS:
        return Entry(label=name, overrides=ABLATIONS[name])
    names = algorithm_names()
    if name in names:
        return Entry(label=name, overrides={"algorithm.name": name})
    known = [*names, *ABLATIONS]
    near = difflib.get_close_matches(name, known, 1, 0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"unknown algorithm or ablation {name!r}: {hint}known: {', '.join(known)}")


def applied(entry: Entry, base: Mapping[str, Any]) -> dict[str, Any]:
    """Add an entry's changes to the base configuration; the result is not validated.

    Raises:
        ConfigError: The entry changes a setting that all entries share, or a dotted key leads into a value.
    """
    overrides = flat(entry.overrides)
    for key in overrides:
        for shared, reason in SHARED_BY_ENTRIES.items():
            if key == shared or key.startswith(f"{shared}."):
                raise ConfigError(f"entry {entry.label!r} sets {key}: {reason}; set it for the whole comparison")
    return merged(base, overrides)
