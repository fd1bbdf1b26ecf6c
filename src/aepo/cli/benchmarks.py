"""Runs `aepo eval DATA_SETS --model MODEL` and `aepo eval --compare A B`."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aepo import config as configuration
from aepo.assembly import policies
from aepo.cli.chosen import Asked, choose, load_judge
from aepo.config import Config
from aepo.equipment import agents as assembled
from aepo.equipment.models import is_server
from aepo.equipment.tools import Equipment, equip
from aepo.evaluation.prices import Prices
from aepo.files.paths import local
from aepo.process import event_loop
from aepo.rewards.judge import Judge
from aepo.runs.folder import RunFolder
from aepo.runs.resumed import on_day
from aepo.tasks.base import Task
from aepo.tasks.datasets import NAMES, find
from aepo.tasks.identity import told as told_to
from aepo.tasks.reading.base import Method
from aepo.tools.base import Tool

if TYPE_CHECKING:
    from aepo.evaluation.figures import Figures
    from aepo.evaluation.folder import EvaluationFolder


_ESTIMATORS = {
    "topk": "lower bounds from the likeliest tokens (topk)",
    "sampled": "-ln p of the sampled tokens (sampled)",
    "none": "none, nor log-probabilities (none)",
}


def evaluate_data_sets(
    names: str,
    model: str,
    settings: Config,
    samples: int = 5,
    data: str | None = None,
    ids: str | None = None,
    tools: str | None = None,
    corpus: str | None = None,
    score: Method | None = None,
    judge: str | None = None,
    out: Path | None = None,
    resume: bool = False,
) -> None:
    """Ask the questions of data sets, score the answers, print and keep a table.

    The arguments are those of `aepo eval`.

    Raises:
        ValueError: An argument does not fit; no question was asked.
    """
    from aepo.evaluation.answers import ask
    from aepo.evaluation.folder import EvaluationFolder
    from aepo.runs.failures import failures_kept

    if samples < 1:
        raise ValueError(f"--samples is {samples}: 1 or more answers a question")
    trained = _training(model)
    kept = RunFolder(local(model)).task().get("told")
    before = told_to(trained[1]) if kept is None and trained is not None and trained[1] is not None else kept
    chosen, equipment = equipped(choose(names, data, ids, tools, corpus, score, before), settings)
    asked_judge = load_judge(judge, [one.data_set for one in chosen])
    folder = EvaluationFolder(out or _default_folder(model))
    settings = _dated(settings, folder)
    unanswered = [folder.open_questions(one.data_set.name, one.task.samples) for one in chosen]
    fixed = _fixed(chosen, settings, samples, model)
    # If all answers are there, they are scored again without the model, which may not exist any more.
    if any(unanswered):
        policy = policies.load_policy(model, settings.model)
        samplers = [assembled.agents(policy, one.task, settings, one.task.samples)[0] for one in chosen]
        fixed |= {"entropy_estimator": samplers[0].generator.entropy_estimator}
        fixed |= {"served": policy.path} if is_server(model) else {}
    folder.begin(fixed, resume, [one.data_set.name for one in chosen])
    known = folder.settings()
    plan = _plan(chosen, settings, samples, known.get("served", model), known.get("entropy_estimator", "full"))
    print("\n".join(told := [*plan, *_differences(chosen, settings, trained)]))
    figures = []
    with equipment.in_use(folder.path):
        for place, one in enumerate(chosen):
            name = one.data_set.name
            if unanswered[place]:
                keep = partial(folder.keep_answers, name, policy.decode)
                with failures_kept(RunFolder(folder.path / name)):
                    event_loop.run(ask, unanswered[place], samplers[place], samples, settings.seed, keep)
            figures.append(score_data_set(folder, one, asked_judge, settings.rewards.concurrency))
    _report(folder, known.get("served", model), figures, prices(settings, equipment.tools), told)


def _report(folder: EvaluationFolder, model: str, figures: Sequence[Figures], costs: Prices, told: list[str]) -> None:
    """Print the table, and save it with the lines that were printed before, and with earlier data sets."""
    from aepo.evaluation.figures import notes, table
    from aepo.terminal.table import markdown, show

    now = [one.name for one in figures]
    before = [name for name in NAMES if name not in now and (folder.path / name / "results.jsonl").is_file()]
    whole = [*(folder.results(name, find(name).title) for name in before), *figures]
    folder.save_table(markdown(model, [table(whole, costs)], [*notes(whole, costs), *told]))
    found, lines = [table(figures, costs)], notes(figures, costs)
    print()
    show(found, lines)
    print(f"kept in {folder.path}")


def equipped(chosen: Sequence[Asked], settings: Config) -> tuple[list[Asked], Equipment]:
    """Apply the configuration's tool settings to the tools of the data sets.

    Raises:
        ValueError: A setting names a tool that does not exist, or results are to be kept and no file is given.
    """
    each = [one.task.tools for one in chosen]
    equipment = equip(settings, [tool for tools in each for tool in tools])
    if equipment.store is not None and settings.tools.cache is None:
        raise configuration.ConfigError("an evaluation keeps tool results where it is told: give tools.cache a file")
    made = iter(equipment.tools)
    tasks = [replace(one.task, tools=[next(made) for _ in tools]) for one, tools in zip(chosen, each, strict=True)]
    return [replace(one, task=task) for one, task in zip(chosen, tasks, strict=True)], equipment


def prices(settings: Config, tools: Iterable[Tool]) -> Prices:
    """Return the prices of tokens and of calls of these tools."""
    tokens = settings.model.price
    return Prices(tokens.prompt or 0.0, tokens.sampled or 0.0, {tool.name: tool.price for tool in tools})


def score_data_set(folder: EvaluationFolder, one: Asked, judge: Judge | None, concurrency: int) -> Figures:
    """Score the answers to a data set, and keep the results. Verdicts of the judge that are known are used again.

    Args:
        folder: The evaluation's folder.
        one: The data set.
        judge: The judge, for data sets that are scored by one.
        concurrency: Calls of the judge at once.

    Raises:
        ValueError: A file is broken.
    """
    from aepo.evaluation.figures import Figures
    from aepo.evaluation.scoring import score_answers

    data_set, name = one.data_set, one.data_set.name
    wanted = {sample.id: place for place, sample in enumerate(one.task.samples)}
    answered = sorted((a for a in folder.answers(name) if a.id in wanted), key=lambda a: wanted[a.id])
    keep = partial(folder.keep_verdict, name)
    known = folder.verdicts(name)
    scored = event_loop.run(score_answers, answered, data_set.method, data_set.prompt, judge, known, keep, concurrency)
    folder.save_results(name, scored)
    folder.reward_trees(name, scored)
    return Figures(name, data_set.title, scored)


def compare_folders(one: Path, other: Path) -> None:
    """Print paired differences of two evaluations on the data sets that both have.

    Raises:
        ValueError: They have no data set in common, or cannot be compared; the message says why.
    """
    from aepo.evaluation.folder import EvaluationFolder
    from aepo.evaluation.paired import comparison
    from aepo.terminal.table import show

    folders = [EvaluationFolder(path) for path in (one, other)]
    models = [kept.get("served", kept["model"]) for kept in (folder.settings() for folder in folders)]
    shared = [name for name in NAMES if all((folder.path / name).is_dir() for folder in folders)]
    if not shared:
        raise ValueError(f"{one} and {other} have no data set in common")
    pairs = [[folder.results(name, find(name).title) for folder in folders] for name in shared]
    names = (models[0], models[1]) if models[0] != models[1] else (str(one), str(other))
    differences, told = comparison(names, [(a, b) for a, b in pairs])
    show([differences], told)


def _training(model: str) -> tuple[Config, Task | None] | None:
    """Load a run's configuration, and its task if it can still be made; None if the model is not a run."""
    from aepo import tasks

    file = RunFolder(local(model)).config_file
    if file is None:
        return None
    config = configuration.load(file)
    try:
        return config, tasks.load(config.task.name, config.task.options)
    except ValueError:
        return config, None


def _fixed(chosen: Sequence[Asked], settings: Config, samples: int, model: str) -> dict[str, Any]:
    rollout = {f"rollout.{key}": value for key, value in _limits(settings).items()}
    tools = {f"tools.{one.data_set.name}": [tool.name for tool in one.task.tools] for one in chosen}
    rollout["rollout.date"] = str(settings.rollout.date)
    return {"model": model, "samples": samples, "seed": settings.seed, **rollout, **tools}


def _dated(settings: Config, folder: EvaluationFolder) -> Config:
    """Set the date for chat templates: the configured one, else the day on which the evaluation began."""
    if settings.rollout.date is not None:
        return settings
    begun = folder.settings().get("rollout.date") if folder.begun else None
    return on_day(settings, datetime.date.today() if begun is None else datetime.date.fromisoformat(begun))


def _limits(settings: Config) -> dict[str, Any]:
    kept = ("protocol", "temperature", "max_tokens", "max_tool_calls", "max_seconds", "on_format_error", "template")
    return {key: getattr(settings.rollout, key) for key in kept}


def _plan(chosen: Sequence[Asked], settings: Config, samples: int, model: str, entropies: str) -> list[str]:
    limits = ", ".join(f"{key} {value}" for key, value in _limits(settings).items() if value not in (None, {}))
    told = [f"{model}: {samples} answers a question; {limits}"]
    told += [f"token entropies in the trees: {_ESTIMATORS[entropies]}"] if entropies in _ESTIMATORS else []
    for one in chosen:
        tools = ", ".join(tool.name for tool in one.task.tools) or "none"
        told.append(
            f"{one.data_set.name}: {len(one.task.samples)} questions, scored by {one.data_set.method}, tools: {tools}"
        )
        told += [f"{one.data_set.name}: left out {count} rows that need {need}" for need, count in one.left_out.items()]
        if one.data_set.method != (usual := find(one.data_set.name).method):
            told.append(f"{one.data_set.name}: usually scored by {usual}; not comparable with published figures")
    return told


def _differences(chosen: Sequence[Asked], settings: Config, trained: tuple[Config, Task | None] | None) -> list[str]:
    """List the settings and tools that differ from those in training."""
    if trained is None:
        return []
    config, task = trained
    before, now = _limits(config), _limits(settings)
    told = [f"unlike training: {key} is {now[key]}, was {before[key]}" for key in now if now[key] != before[key]]
    if task is None:
        return [*told, f"the task of the training, {config.task.name}, cannot be made: its tools are not compared"]
    known = [tool.name for tool in task.tools]
    for one in chosen:
        tools = [tool.name for tool in one.task.tools]
        if set(tools) != set(known):
            names = (", ".join(tools) or "none", ", ".join(known) or "none")
            told.append(f"unlike training: {one.data_set.name} has the tools {names[0]}, training had {names[1]}")
    return told


def _default_folder(model: str) -> Path:
    run = local(model)
    if RunFolder(run).config_file:
        return run / "benchmarks"
    name = re.sub(r"https?://", "", model).removesuffix("/v1")
    return Path("runs") / "benchmarks" / name.strip("/.").replace("/", "--").replace(":", "-")
