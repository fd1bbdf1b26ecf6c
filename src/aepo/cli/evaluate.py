"""Runs `aepo eval`."""

from __future__ import annotations

import json
from pathlib import Path

from tyro.conf import Positional

from aepo.cli.words import settings_for
from aepo.files.paths import local
from aepo.tasks.reading.base import Method


def evaluate(
    what: Positional[str] = "",
    overrides: Positional[tuple[str, ...]] = (),
    /,
    model: str | None = None,
    config: Path | None = None,
    samples: int = 5,
    questions: int | None = None,
    greedy: bool = True,
    data: str | None = None,
    ids: str | None = None,
    tools: str | None = None,
    corpus: str | None = None,
    score: Method | None = None,
    judge: str | None = None,
    out: Path | None = None,
    resume: bool = False,
    compare: tuple[Path, Path] | None = None,
) -> None:
    """Measure a policy: on a task's held-out questions, or on published data sets.

    `aepo eval POLICY` asks the held-out questions of its task: Pass@1, Pass@k, greedy success, tool calls, tokens.
    `aepo eval aime24,gsm8k,hotpotqa --model MODEL` asks those of data sets: a table with intervals, every answer kept.
    `aepo eval --compare A B` shows the paired differences between two such evaluations.

    Args:
        what: Folder of a run (its newest checkpoint), folder or hub name of a model, "atlas", or the address of a model
            server (http://host:port/v1); with --model, names of data sets.
        overrides: Settings, e.g. task.options.split=test rollout.temperature=0.6.
        model: The model that answers the questions of data sets; it is named like POLICY.
        config: YAML file for task and rollout; by default a run's own configuration.
        samples: Sampled trajectories for each question.
        questions: Number of questions, from the first; by default all. Only for a task.
        greedy: Also take one greedy trajectory for each question. Only for a task.
        data: JSONL or Parquet file of the data set; for several, a folder, or name=file,name=file. By default the
            Hugging Face Hub.
        ids: Ask only these questions of the data sets: a file with one id in each line, or ids with commas.
        tools: "search", "browse", "python", "package.module:function", with commas, or "none"; by default those of each
            data set.
        corpus: JSONL file of the documents to search.
        score: The score to use instead of that of each data set.
        judge: MODEL@http://host:port/v1, or the address alone if the server has one model; its key is read from
            AEPO_JUDGE_KEY. Or "package.module:function", an async function from a prompt to the judge model's reply.
        out: Folder for the results. By default it is in the run's folder: `evaluation` for its task, `benchmarks` for
            data sets. For another model it is `runs/benchmarks/MODEL`; on a task, only a trajectory that met a bug in a
            tool is then kept.
        resume: Continue the evaluation in that folder. With another --judge or --score, the answers are scored again.
            Only for data sets.
        compare: Folders of two evaluations on data sets.
    """
    from aepo.cli.benchmarks import compare_folders, evaluate_data_sets

    if compare is not None:
        return compare_folders(*compare)
    _check(what, model, questions)
    if model is None:
        _refuse(data=data, ids=ids, tools=tools, corpus=corpus, score=score, judge=judge, resume=resume or None)
        return _evaluate_task(what, overrides, config, samples, questions, greedy, out)
    settings = settings_for(model, config, overrides)
    return evaluate_data_sets(what, model, settings, samples, data, ids, tools, corpus, score, judge, out, resume)


def _check(what: str, model: str | None, questions: int | None) -> None:
    """Refuse arguments that do not fit together."""
    from aepo.tasks.datasets import NAMES

    if not what:
        raise ValueError("Missing from aepo eval: a policy, or data sets and --model, or --compare A B")
    if model is None and all(name.strip().lower() in NAMES for name in what.split(",")):
        raise ValueError(f"{what}: a data set; say what answers it with --model")
    if model is not None and questions is not None:
        raise ValueError("--questions would cut a data set short: choose questions by --ids")


def _refuse(**options: object) -> None:
    """Refuse options for data sets if a task is evaluated."""
    for name, value in options.items():
        if value is not None:
            raise ValueError(f"--{name} is for data sets: aepo eval DATA_SETS --model MODEL --{name} ...")


def _evaluate_task(
    model: str,
    overrides: tuple[str, ...],
    config: Path | None,
    samples: int,
    questions: int | None,
    greedy: bool,
    out: Path | None,
) -> None:
    from aepo import tasks
    from aepo.api import evaluate as measure
    from aepo.assembly.policies import load_policy
    from aepo.cli.benchmarks import prices
    from aepo.equipment.models import is_server
    from aepo.equipment.tools import equip
    from aepo.evaluation.outcomes import save_outcomes
    from aepo.runs.failures import failures_kept
    from aepo.runs.folder import RunFolder
    from aepo.runs.resumed import task_of_run
    from aepo.runs.trees import save_trees

    run = local(model)
    is_run = RunFolder(run).config_file is not None
    settings = settings_for(model, config, overrides)
    python = f"aepo.evaluate({str(run)!r}, task)"
    task = task_of_run(run, settings, python) if is_run else tasks.load(settings.task.name, settings.task.options)
    policy = load_policy(model, settings.model)
    asked = list(task.held_out or task.samples)[:questions]
    folder = out or (run if is_run else Path()) / "evaluation"
    kept = RunFolder(folder)
    with failures_kept(kept):
        result = measure(policy, task, samples, greedy, asked, settings)
    name = policy.path if is_server(model) else model
    kind = "questions" if task.held_out else "training questions"
    print(f"{name} on {len(asked)} {kind} of {task.name}, {samples} samples each")
    print(result)
    if costs := prices(settings, equip(settings, task.tools).tools):
        print(f"cost    {result.cost(costs):.3g} per question, greedy not counted")
    if out is None and not is_run:
        return
    folder.mkdir(parents=True, exist_ok=True)
    save_outcomes(kept, 0, result.outcomes())
    save_trees(kept, 0, result.sampled, policy.decode)
    if result.greedy:
        save_trees(kept, 1, result.greedy, policy.decode)
    report = {"model": name, "task": task.name, "options": settings.task.options, "samples": samples}
    report |= {"questions": len(asked), **result.metrics()}
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"kept in {folder}")
