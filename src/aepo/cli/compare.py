"""Runs `aepo compare`."""

from __future__ import annotations

from functools import partial

from tyro.conf import Positional

from aepo.cli.words import file_and_settings


def compare(
    config: Positional[str | None] = None,
    overrides: Positional[tuple[str, ...]] = (),
    /,
    seeds: str | None = None,
    jobs: int = 1,
    quick: bool = False,
    figures: bool = True,
) -> None:
    """Train several algorithms on one task, over several seeds, under one budget; make a table and figures.

    If you give the same command again, finished runs are kept and interrupted ones are continued.

    Args:
        config: YAML file of a comparison, or of a training, whose settings all runs then share; or a name such as
            compare-atlas.
        overrides: Settings, e.g. algorithms=grpo,aepo,aepo-random budget.amount=12800 rollout.questions=16.
        seeds: Seeds like 0,1,2; every entry runs with each of them.
        jobs: Runs at once, each in a process with one thread; the results are the same for any number.
        quick: Only try that everything works, in a folder of its own: two seeds, a few steps and questions.
        figures: Draw figures; they need the extra "plots".
    """
    from aepo import tasks
    from aepo.comparison import figures as drawing
    from aepo.comparison import folder, plan, report, results, runner

    file, overrides = file_and_settings(config, overrides)
    if jobs < 1:
        raise ValueError(f"--jobs is {jobs}: 1 or more runs at once")
    planned = folder.dated(plan.plan(plan.load(file, overrides, seeds), quick))
    task = planned.runs[0].config.task
    if not tasks.load(task.name, task.options).held_out:
        raise ValueError(f"task {task.name!r} has no held-out questions: a comparison measures on them, give it some")
    if figures:
        drawing.require()
    folder.claim(planned)
    failures = runner.carry_out(planned, jobs, partial(print, flush=True))
    failed = [failure.run for failure in failures]
    found = [results.read(run) for run in planned.runs if run not in failed]
    if found:
        report.write(planned, found, [f"{f.run}: {f.reason}" for f in failures], figures)
        print(f"kept in {planned.folder}")
    if failures:
        raise RuntimeError(
            f"{len(failures)} of {len(planned.runs)} runs failed, the first of them {failures[0].run}: "
            f"{failures[0].reason}; the same command tries them again"
        )
