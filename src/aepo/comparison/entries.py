"""What is compared: an algorithm or a part of one switched off, with its changes to the settings that all share."""

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
    "evaluation": "every entry is measured in the same way",
    "seed": "every entry runs with every seed of the comparison",
    "run": "the run folders lie in the comparison's",
    "train.steps": "the comparison's budget ends a run",
    "train.max_trajectories": "the comparison's budget ends a run",
    "train.max_sampled_tokens": "the comparison's budget ends a run",
    "train.max_executed_calls": "the comparison's budget ends a run",
}
"""What no entry may set, and why."""


class Entry(Section):
    """One side of the comparison.

    Attributes:
        label: Its name in table, figures and folders.
        overrides: Changes to the base configuration, by dotted key.
    """

    label: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")
    overrides: dict[str, Any] = Field(default_factory=dict)


def named(name: str) -> Entry:
    """The entry of a short name: an algorithm's, or one of `ABLATIONS`.

    Raises:
        ConfigError: There is none; the nearest known one is named.
    """
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
    """The base configuration with an entry's changes; not validated.

    Raises:
        ConfigError: The entry changes what all entries share, or a key goes into a value.
    """
    overrides = flat(entry.overrides)
    for key in overrides:
        for shared, reason in SHARED_BY_ENTRIES.items():
            if key == shared or key.startswith(f"{shared}."):
                raise ConfigError(f"entry {entry.label!r} sets {key}: {reason}; set it for the whole comparison")
    return merged(base, overrides)
