"""Runs `aepo solve`."""

from __future__ import annotations

import json as json_format
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, UseAppendAction, arg

from aepo import config as configuration
from aepo.cli.words import settings_for
from aepo.config import Config
from aepo.types import Sample

if TYPE_CHECKING:
    from aepo.runs.folder import RunFolder
    from aepo.solving.solution import Solution
    from aepo.tasks.base import Task


def solve(
    question: Positional[str],
    overrides: Positional[tuple[str, ...]] = (),
    /,
    *,
    model: Annotated[str, arg(metavar="MODEL|URL")],
    task: str | None = None,
    tools: str | None = None,
    corpus: str | None = None,
    metadata: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="KEY=VALUE")] = (),
    trajectories: int | None = None,
    calls: int | None = None,
    tokens: int | None = None,
    money: float | None = None,
    reward: str | None = None,
    judge: str | None = None,
    config: Path | None = None,
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Answer one question: AEPO's rollout samples trajectories under a budget, and their answers are voted on.

    Limits are never exceeded. The first one that is reached ends the rollout, and so does Ctrl-C; the finished
    trajectories are then voted on. The exit code is 1 if there is no answer.

    Args:
        question: The question.
        overrides: Settings, e.g. rollout.max_tokens=2048 rollout.protocol=chat algorithm.name=grpo.
        model: Folder of a run, folder or hub name of a model, "atlas", or the address of an OpenAI-compatible server.
        task: Take tools and system message from this task (options: task.options.<name>=...). By default the task of a
            run, and "atlas" for its model.
        tools: Tools instead of a task's: "search", "python", "package.module:function", with commas, or "none". The
            system message and the examples of a run stay.
        corpus: The corpus of "search": a JSONL or Parquet file of documents, or a folder of `aepo tools index`.
        metadata: What the task's environment needs to know of the question, e.g. seed=417322; give it once for each
            key.
        trajectories: The most trajectories to begin; by default 8, or 64 if another limit is given.
        calls: The most tool calls to run.
        tokens: The most tokens that the model may write.
        money: The most that tokens and calls may cost together. model.price.prompt=... and model.price.sampled=... are
            the prices of a million tokens.
        reward: "package.module:function" of (sample, trajectory). The answer with the highest reward is taken.
        judge: A model that chooses the answer: MODEL@http://host/v1, or "package.module:function", an async function
            from a prompt to a reply.
        config: YAML file for rollout, tools and algorithm; by default that of a run.
        out: Folder for trees and solution; by default a new one in `solved`.
        json: Print the solution as JSON and nothing else.
    """
    from aepo.cli.chosen import load_function, named_judge
    from aepo.solving.solve import solve as solved

    settings = settings_for(model, config, overrides)
    chosen = _task(settings, model, config, task, tools, corpus, question)
    asked = Sample(question, id="question", metadata=dict(map(configuration.split, metadata)))
    limited = partial(solved, trajectories=trajectories, calls=calls, tokens=tokens, money=money, config=settings)
    score = None if reward is None else load_function("reward", reward)
    ask = None if judge is None else named_judge(judge).ask
    find = partial(limited, question=asked, task=chosen, reward=score, judge=ask, interruptible=True)
    return _answer(find, model, settings, chosen, _folder(out), None if json else question)


def _answer(
    find: Callable[..., Solution], model: str, settings: Config, task: Task, folder: RunFolder, shown: str | None
) -> int:
    """Find the solution, keep it and show it, with the progress; where no question is `shown`, print it as JSON."""
    from aepo.assembly.policies import load_policy
    from aepo.runs.brought import run_of, unlike_training
    from aepo.runs.failures import failures_kept
    from aepo.runs.folder import in_shell
    from aepo.runs.trees import save_trees
    from aepo.solving.display import SolvingDisplay

    policy = load_policy(model, settings.model)
    find = partial(find, policy, kept=lambda number, group: save_trees(folder, number, [group], policy.decode))
    display = None if shown is None else SolvingDisplay(shown)
    with failures_kept(folder):
        if display is None:
            solution = find()
        else:
            tools = ", ".join(tool.name for tool in task.tools) or "none"
            display.say(f"{model}, tools: {tools}, rules of {settings.algorithm.name}")
            if (unlike := unlike_training(run_of(model), task.tools)) is not None:
                display.say(unlike)
            with display:
                solution = find(watch=display.watch)
    _write(folder, solution, model)
    if display is None:
        print(json_format.dumps(solution.to_dict()))
    else:
        display.solved(solution)
        display.say(f"trees: aepo view {in_shell(folder.path)}")
    return 0 if solution.answer is not None or solution.actions else 1


def _task(
    settings: Config,
    model: str,
    config: Path | None,
    task: str | None,
    tools: str | None,
    corpus: str | None,
    question: str,
) -> Task:
    """Make the task that gives the tools and the system message."""
    from aepo import tasks
    from aepo.runs.brought import run_of, told_by
    from aepo.runs.resumed import task_of_run
    from aepo.tasks.base import Task
    from aepo.tools.named import named

    run = run_of(model)
    if tools is None and task is None and (run is not None or config is not None or model == "atlas"):
        task = settings.task.name
    if task is not None:
        if tools is not None or corpus is not None:
            raise ValueError("--task brings its own tools: leave --tools and --corpus out")
        if settings.task.name != task:
            return tasks.load(task, {})
        if run is not None:
            return task_of_run(run, settings, f"aepo.solve({str(run)!r}, question, task=task), or give --tools")
        return tasks.load(task, settings.task.options)
    names = [name.strip() for name in (tools or "").split(",") if name.strip() not in ("", "none")]
    if corpus is not None and "search" not in names:
        raise ValueError("--corpus is for the tool search: add --tools search")
    made = [named(name, corpus) for name in names]
    return Task("solve", [Sample(question)], made, **told_by(run, made))


def _folder(out: Path | None) -> RunFolder:
    """Return the folder `out`, or a new one in `solved`.

    Raises:
        ValueError: The folder holds other trees.
    """
    from aepo.runs.folder import RunFolder

    folder = RunFolder(out or _new_folder())
    if folder.tree_files():
        raise ValueError(f"{folder.path} holds other trees: give another folder")
    return folder


def _new_folder() -> Path:
    """Return a path in `solved` that does not exist yet; its name is the time."""
    now = time.strftime("%Y%m%d-%H%M%S")
    names = (now if number == 1 else f"{now}-{number}" for number in count(1))
    return next(path for path in map(Path("solved").joinpath, names) if not path.exists())


def _write(folder: RunFolder, solution: Solution, model: str) -> None:
    folder.path.mkdir(parents=True, exist_ok=True)
    kept = {"model": model, **solution.to_dict()}
    (folder.path / "solution.json").write_text(json_format.dumps(kept, indent=1) + "\n", encoding="utf-8")
