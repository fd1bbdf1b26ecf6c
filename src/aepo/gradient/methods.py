"""The methods that are compared: algorithms, each with its settings, on one task and one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aepo.algorithms.base import Algorithm
from aepo.algorithms.weighted import EntropyWeighted, TreeWeighted
from aepo.config import Config, ConfigError, flat, merged, parse, read, split

SAME = ("model", "task", "rollout", "rewards", "tools", "seed")
"""Sections that must be equal in all files: methods differ in `algorithm` alone."""


@dataclass(frozen=True)
class GradientMethod:
    """One method.

    Attributes:
        label: Its name in the table.
        algorithm: The algorithm, with its settings.
    """

    label: str
    algorithm: Algorithm


def methods_of(files: Sequence[Path], overrides: Sequence[str]) -> tuple[Config, list[GradientMethod]]:
    """The shared configuration, and the methods; the first one is plain GRPO, which all are measured by.

    Each of several files is a method. One file, or none, is asked about as it is and with the settings that decide how
    trajectories and tokens count.

    Args:
        files: YAML files of trainings.
        overrides: Settings for all of them.

    Raises:
        ConfigError: A file cannot be used, or files differ in more than their algorithm.
    """
    changes = dict(map(split, overrides))
    written: list[Mapping[str, Any]] = [merged(read(file), changes) for file in files] or [merged({}, changes)]
    configs = [parse(one) for one in written]
    first = configs[0]
    for file, config in zip(files, configs, strict=False):
        for name in SAME:
            if getattr(config, name) != getattr(first, name):
                raise ConfigError(
                    f"{file} and {files[0]} differ in {name}: methods are compared on one task and one model, so "
                    f"give the same {name} to all files"
                )
    size = first.algorithm.group_size
    plain = GradientMethod("grpo", _grpo(size))
    if len(configs) == 1:
        return first, [plain, *variants(first.algorithm)]
    labels = [file.stem for file in files]
    return first, [plain, *(GradientMethod(label, c.algorithm) for label, c in zip(labels, configs, strict=True))]


def variants(algorithm: Algorithm) -> list[GradientMethod]:
    """GRPO with the opposite weight of entropy, and the algorithm as it is and with other weights and credit."""
    found = [GradientMethod("grpo, entropy -0.2", _grpo(algorithm.group_size, entropy_weight=-0.2))]
    name = algorithm.name.rsplit(":", 1)[-1]
    if isinstance(algorithm, TreeWeighted):
        how: list[dict[str, Any]] = [
            {"entropy_weight": 0.0},
            {"entropy_weight": 0.0, "leaf_weights": "path"},
            {"entropy_weight": 0.0, "leaf_weights": "path", "credit": "mixed"},
            {"entropy_weight": -0.2, "leaf_weights": "path", "credit": "mixed"},
        ]
        told = ["entropy 0", "path", "path, mixed", "path, mixed, -0.2"]
        found.append(GradientMethod(f"{name}, as given", algorithm))
        found += [
            GradientMethod(f"{name}, {words}", algorithm.model_copy(update=changes))
            for words, changes in zip(told, how, strict=True)
        ]
    elif algorithm != _grpo(algorithm.group_size):
        found.append(GradientMethod(f"{name}, as given", algorithm))
    return found


def without_std(algorithm: Algorithm) -> Algorithm | None:
    """The algorithm without the division by the group's std; None if it has no such setting."""
    if not isinstance(algorithm, EntropyWeighted):
        return None
    return algorithm.model_copy(update={"standardize": False})


def settings_apart(method: GradientMethod) -> str:
    """What a method sets that is not its algorithm's default, for a note below the table."""
    default = type(method.algorithm)(**({"name": method.algorithm.name} if ":" in method.algorithm.name else {}))
    ours, theirs = flat(method.algorithm.model_dump()), flat(default.model_dump())
    apart = [f"{key}={value}" for key, value in ours.items() if value != theirs.get(key) and key != "name"]
    return f"{method.algorithm.name} {' '.join(apart)}".strip()


def _grpo(size: int, **settings: Any) -> Algorithm:
    from aepo.algorithms.grpo import GRPO

    return GRPO(group_size=size, **settings)
