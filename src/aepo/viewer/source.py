"""Opens a folder for the viewer: of a run, of an evaluation, or any with trees."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from aepo.config import flat
from aepo.evaluation.folder import EvaluationFolder
from aepo.runs.folder import CONFIG, RunFolder

FACTS = (
    ("algorithm", "algorithm.name"),
    ("task", "task.name"),
    ("model", "model.path"),
    ("seed", "seed"),
    ("trajectories a question", "algorithm.group_size"),
    ("questions a step", "rollout.questions"),
    ("temperature", "rollout.temperature"),
    ("task", "task"),
    ("model", "model"),
    ("models", "models"),
    ("samples", "samples"),
)
"""Settings that the page shows on top, with their labels; a list of all settings has the others."""

EVALUATED = {0: "sampled", 1: "greedy"}
"""Names of the trees of an evaluation on a task's own questions."""

RULES = ("branch_rule", "tau", "alpha", "gamma", "penalty", "beam_size", "entropy_window", "clip_low", "clip_high")


@dataclass(frozen=True)
class SourceSection:
    """Questions that are shown together: those of a step of a run, or of a data set of an evaluation.

    Attributes:
        key: Its name in addresses.
        label: Its name on the page.
        step: The training step; None in an evaluation.
        files: Its tree files, in order.
    """

    key: str
    label: str
    step: int | None
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Source:
    """One opened folder.

    Attributes:
        folder: The folder.
        kind: "run" or "evaluation".
        settings: Its settings by dotted keys; empty if the folder has none.
    """

    folder: RunFolder
    kind: Literal["run", "evaluation"]
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.path.resolve().name

    def sections(self) -> list[SourceSection]:
        """The current sections; the folder may still grow."""
        files = self.folder.tree_files()
        if self.kind == "run":
            return [SourceSection(str(n), f"step {n}", n, (path,)) for n, path in files.items()]
        if files:
            return [SourceSection(str(n), EVALUATED.get(n, str(n)), None, (path,)) for n, path in files.items()]
        data_sets = {path.name: RunFolder(path).tree_files() for path in sorted(self.folder.path.iterdir())}
        return [SourceSection(name, name, None, tuple(kept.values())) for name, kept in data_sets.items() if kept]

    def section(self, key: str) -> SourceSection:
        """One section; KeyError if there is no such section."""
        for section in self.sections():
            if section.key == key:
                return section
        raise KeyError(key)

    def evaluations(self) -> list[Path]:
        """The folders of evaluations that lie inside of a run's folder."""
        if self.kind == "evaluation":
            return []
        names = ("*/report.json", "*/settings.json", "*/*/settings.json")
        return sorted({kept.parent for name in names for kept in self.folder.path.glob(name)})

    def facts(self) -> list[tuple[str, str]]:
        """Labels and values for the page's head."""
        return [(words, str(self.settings[key])) for words, key in FACTS if self.settings.get(key) is not None]

    def rules(self) -> dict[str, Any]:
        """The settings with which the page draws branch decisions and clips, as far as they are known."""
        return {name: self.settings[key] for name in RULES if (key := f"algorithm.{name}") in self.settings}


def open_source(path: Path) -> Source:
    """Open a folder.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It has nothing to show, or its settings are broken or of another version; the message says which.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"no run folder {path}")
    folder = RunFolder(path)
    if (evaluation := EvaluationFolder(path)).begun:
        return Source(folder, "evaluation", _dotted(evaluation.settings()))
    if (report := folder.read_json("report.json")) is not None:
        return Source(folder, "evaluation", _dotted(report))
    if folder.config_file is not None:
        return Source(folder, "run", _dotted(folder.config()))
    if folder.metrics_file.is_file() or folder.trees.is_dir():
        return Source(folder, "run", {})
    if inside := runs_in(path):
        raise ValueError(f"{path} holds {len(inside)} runs: open one or two of them, e.g. {inside[0]}")
    raise ValueError(f"{path} holds no run: it has neither config.yaml nor metrics.jsonl nor trees, nor settings.json")


def runs_in(path: Path) -> list[Path]:
    """The folders of runs in a folder that is no run itself, and in the folders of it; the newest comes first.

    A link to one of them, such as `latest`, is left out.
    """
    if not path.is_dir() or (path / CONFIG).is_file():
        return []
    found = [config for pattern in (f"*/{CONFIG}", f"*/*/{CONFIG}") for config in path.glob(pattern)]
    own = {config.resolve(): config for config in sorted(found, key=lambda config: -len(_links(path, config)))}
    return [config.parent for config in sorted(own.values(), key=lambda config: -config.stat().st_mtime)]


def _links(path: Path, inside: Path) -> list[Path]:
    """The links on the way from a folder to a file in it."""
    return [part for part in inside.parents if part.is_relative_to(path) and part != path and part.is_symlink()]


def _dotted(settings: Mapping[str, Any]) -> dict[str, Any]:
    plain = str | int | float | None
    return {name: value if isinstance(value, plain) else json.dumps(value) for name, value in flat(settings).items()}
