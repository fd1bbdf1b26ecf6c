"""`aepo eval`."""

from __future__ import annotations

import json
from pathlib import Path

from tyro.conf import Positional

from aepo import config as configuration


def evaluate(
    model: Positional[str],
    overrides: Positional[tuple[str, ...]] = (),
    /,
    config: Path | None = None,
    samples: int = 5,
    questions: int | None = None,
    greedy: bool = True,
    out: Path | None = None,
) -> None:
    """Measure a policy on a task's held-out questions: Pass@1, Pass@k, greedy success, tool calls, tokens.

    Args:
        model: Folder of a run (its newest checkpoint), folder or hub name of a model, or "atlas".
        overrides: Settings, e.g. task.options.split=test rollout.temperature=0.6.
        config: YAML file for task and rollout; a run's own configuration by default.
        samples: Sampled trajectories a question.
        questions: How many questions, from the first; all by default.
        greedy: Whether one greedy trajectory a question is taken too.
        out: Folder for report.json and every question's outcomes and trajectories; by default `evaluation` in the run's
            folder; of another model only the trajectory that met a tool's bug is kept, in `evaluation` here.
    """
    from aepo import tasks
    from aepo.api import evaluate as measure
    from aepo.api import load_policy
    from aepo.evaluation.outcomes import outcomes
    from aepo.rollout.explorer import RolloutError
    from aepo.training.run_folder import RunFolder

    run = Path(model)
    is_run = (run / "config.yaml").is_file()
    if config is None and is_run:
        config = run / "config.yaml"
    settings = configuration.load(config, overrides)
    task = tasks.load(settings.task.name, settings.task.options)
    policy = load_policy(model, settings.model.model_copy(update={"path": model}))
    asked = list(task.held_out or task.samples)[:questions]
    folder = out or (run if is_run else Path()) / "evaluation"
    kept = RunFolder(folder)
    try:
        result = measure(policy, task, samples, greedy, asked, settings)
    except RolloutError as error:
        folder.mkdir(parents=True, exist_ok=True)
        kept.keep_failure(error)
        raise
    print(f"{model} on {len(asked)} questions of {task.name}, {samples} samples each")
    print(result)
    if out is None and not is_run:
        return
    folder.mkdir(parents=True, exist_ok=True)
    kept.save_outcomes(0, outcomes(result))
    kept.save_trees(0, result.sampled, policy.decode)
    if result.greedy:
        kept.save_trees(1, result.greedy, policy.decode)
    report = {"model": model, "task": task.name, "options": settings.task.options, "samples": samples}
    report |= {"questions": len(asked), **result.metrics()}
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"kept in {folder}")
