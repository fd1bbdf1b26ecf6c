"""Reads a comparison's settings and plans its runs. Everything is checked before the first run starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from aepo import config as configuration
from aepo.comparison.entries import Entry, applied, named
from aepo.config import Config, ConfigError, Section, flat
from aepo.files.paths import local

LIMITS = {
    "trajectories": "max_trajectories",
    "sampled_tokens": "max_sampled_tokens",
    "executed_calls": "max_executed_calls",
}
"""The setting of a run that holds each kind of budget."""
QUICK_SEEDS, QUICK_STEPS, QUICK_QUESTIONS, QUICK_HELD_OUT = 2, 2, 2, 6


class EqualBudget(Section):
    """The budget of each run for training.

    Attributes:
        kind: The quantity that is equal for all entries.
        amount: The amount of this quantity; a run ends after the step that reaches it.
    """

    kind: Literal["trajectories", "sampled_tokens", "executed_calls"] = "trajectories"
    amount: int = Field(ge=1)


class Measurement(Section):
    """The evaluation on the task's held-out questions. An option of the task says which questions these are.

    Attributes:
        questions: The number of questions, from the first; null takes the number of the base configuration.
        samples: Sampled trajectories for each question; the table shows Pass@1 and Pass@samples.
        every: Training steps between two evaluations, from which the curves are drawn; 0 evaluates only before and
            after training. An entry with smaller or larger steps may set its own `evaluation.every`.
    """

    questions: int | None = Field(default=None, ge=1)
    samples: int = Field(default=5, ge=1)
    every: int = Field(default=10, ge=0)


class Settings(Section):
    """The settings of a comparison.

    Attributes:
        folder: The folder to write to.
        base: The configuration that all runs share, with the keys of a training configuration. In a file, it may also
            be the path of such a file, relative to this file.
        entries: The entries to compare; all are compared with the first. In a file, an entry may also be a short name.
        seeds: The seeds; every entry runs with each of them.
        budget: The budget of each run; null is the number of trajectories that the base configuration samples.
        evaluation: The evaluation of each run.
    """

    folder: str = "runs/comparison"
    base: dict[str, Any] = Field(default_factory=dict)
    entries: list[Entry] = Field(default_factory=lambda: [named("grpo"), named("aepo")], min_length=1)
    seeds: list[int] = Field(default_factory=lambda: [0, 1, 2], min_length=1)
    budget: EqualBudget | None = None
    evaluation: Measurement = Measurement()

    @field_validator("seeds", mode="before")
    @classmethod
    def _seeds_of_a_line(cls, value: Any) -> Any:
        return value.split(",") if isinstance(value, str) else [value] if isinstance(value, int) else value

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, value: list[int]) -> list[int]:
        if repeated := _repeated(value):
            raise ValueError(f"seed {repeated} comes twice, and would count twice: give each seed once")
        return value

    @field_validator("entries")
    @classmethod
    def _labels_differ(cls, value: list[Entry]) -> list[Entry]:
        if repeated := _repeated([entry.label for entry in value]):
            raise ValueError(f"two are called {repeated!r}: give one of them another label")
        return value


@dataclass(frozen=True)
class PlannedRun:
    """The run of one entry with one seed.

    Attributes:
        label: The entry's label.
        seed: The run's seed.
        config: The run's whole configuration.
    """

    label: str
    seed: int
    config: Config

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.config.run)

    def __str__(self) -> str:
        """The run's name, e.g. "aepo, seed 0"."""
        return f"{self.label}, seed {self.seed}"


@dataclass(frozen=True)
class Plan:
    """A checked comparison.

    Attributes:
        folder: The folder to write to.
        labels: The labels of the entries, in order.
        seeds: The seeds, in order.
        budget: The budget of each run.
        shared: The base configuration that the runs use. It identifies the comparison; entries and seeds do not.
        runs: Every entry with every seed; all entries of a seed come before the next seed.
    """

    folder: Path
    labels: list[str]
    seeds: list[int]
    budget: EqualBudget
    shared: dict[str, Any]
    runs: list[PlannedRun]


def load(path: Path | None, overrides: Sequence[str] = (), seeds: str | None = None) -> Settings:
    """Load the settings of a comparison.

    Args:
        path: The comparison's YAML file, or that of a training configuration, which becomes the base, or the name of
            one in this package; None takes class defaults.
        overrides: Changes as `key=value`. Keys of the comparison change the comparison (`algorithms` means its
            entries); any other key changes the base.
        seeds: Seeds like "0,1,2"; by default those of the file.

    Raises:
        ConfigError: A file is missing or broken, a key is unknown, or a value does not fit.
    """
    data = {} if path is None else configuration.read(path)
    own = Settings.model_fields.keys()
    # `evaluation` does not tell the two kinds of file apart: both have this key.
    if not data.keys() & (own - {"evaluation"}):
        data = {"base": data}
    base = data.get("base") or {}
    if isinstance(base, str):
        beside = local(base) if path is None else configuration.located(path).parent / local(base)
        base = configuration.read(beside if beside.exists() else base)
    if not isinstance(base, dict):
        raise ConfigError(f"base of {path} is {base!r}: write the keys of a training configuration, or its path")
    changes: dict[str, dict[str, Any]] = {"comparison": {}, "base": {}}
    for key, value in map(configuration.split, overrides):
        if key in ("run", "seed"):
            raise ConfigError(f"{key}={value} is of one run: write {'folder' if key == 'run' else 'seeds'}={value}")
        own_key = "entries" if key == "algorithms" else key
        changes["comparison" if own_key.split(".")[0] in own else "base"][own_key] = value
    if seeds is not None:
        changes["comparison"]["seeds"] = seeds
    data = configuration.merged({**data, "base": configuration.merged(base, changes["base"])}, changes["comparison"])
    entries = data.get("entries")
    if isinstance(entries, str):
        entries = entries.split(",")
    if isinstance(entries, list):
        data["entries"] = [named(e).model_dump() if isinstance(e, str) else e for e in entries]
    return configuration.validated(Settings, data)


def plan(settings: Settings, quick: bool = False) -> Plan:
    """Plan the runs of a comparison.

    Args:
        settings: The comparison's settings.
        quick: Only try that everything works: two seeds, few steps, few questions, in a folder of its own.

    Raises:
        ConfigError: An entry is unknown or does not fit, or the budget is smaller than one group.
    """
    base = configuration.merged(settings.base, {"run": settings.folder, "seed": 0})
    shared = configuration.parse(base)
    for limit in LIMITS.values():
        if getattr(shared.train, limit) is not None:
            raise ConfigError(f"train.{limit} is of one run: write budget.kind and budget.amount instead")
    folder = Path(f"{settings.folder}-quick" if quick else settings.folder)
    seeds = settings.seeds[:QUICK_SEEDS] if quick else settings.seeds
    budget = settings.budget or EqualBudget(amount=shared.train.steps * _trajectories_a_step(shared))
    if quick:
        budget = EqualBudget(amount=QUICK_STEPS * QUICK_QUESTIONS * shared.algorithm.group_size)
    configs = {entry.label: _config(entry, base, settings.evaluation, budget, quick) for entry in settings.entries}
    runs = [
        PlannedRun(label, seed, _placed(config, folder / "runs" / f"{label}-seed-{seed}", seed))
        for seed in seeds
        for label, config in configs.items()
    ]
    identity = _measured(shared, settings.evaluation, budget, quick).model_dump(mode="json", exclude={"run", "seed"})
    return Plan(folder, list(configs), seeds, budget, identity, runs)


def _config(entry: Entry, base: Mapping[str, Any], evaluation: Measurement, budget: EqualBudget, quick: bool) -> Config:
    data = applied(entry, base)
    if (every := flat(entry.overrides).get("evaluation.every")) is not None:
        evaluation = evaluation.model_copy(update={"every": every})
    try:
        return _measured(configuration.parse(data), evaluation, budget, quick)
    except ConfigError as error:
        # The error names the budget by the run's setting, but the user set it in the comparison.
        what = str(error).replace(f"train.{LIMITS[budget.kind]}", "budget.amount")
        raise ConfigError(f"entry {entry.label!r}: {what}") from None


def _measured(config: Config, evaluation: Measurement, budget: EqualBudget, quick: bool) -> Config:
    """Set in a run's configuration what the comparison decides: budget, evaluation, one thread."""
    questions = evaluation.questions or config.evaluation.questions
    samples, rollout = evaluation.samples, config.rollout.questions
    if quick:
        questions, rollout = min(questions or QUICK_HELD_OUT, QUICK_HELD_OUT), min(rollout, QUICK_QUESTIONS)
    changes: dict[str, Any] = {
        "evaluation.questions": questions,
        "evaluation.samples": samples,
        "evaluation.every": evaluation.every,
        "rollout.questions": rollout,
        # Another number of threads adds up sums in another order, which changes results.
        "train.threads": config.train.threads or 1,
        f"train.{LIMITS[budget.kind]}": budget.amount,
    }
    if budget.kind == "trajectories":
        changes["train.steps"] = -(-budget.amount // (rollout * config.algorithm.group_size))
    return configuration.parse(configuration.merged(config.model_dump(mode="json"), changes))


def _placed(config: Config, folder: Path, seed: int) -> Config:
    return config.model_copy(update={"run": str(folder), "seed": seed})


def _trajectories_a_step(config: Config) -> int:
    return config.rollout.questions * config.algorithm.group_size


def _repeated(values: Sequence[Any]) -> Any:
    """The first value that occurs more than once, as text; "" if there is none."""
    return next((str(value) for value, count in Counter(values).items() if count > 1), "")
