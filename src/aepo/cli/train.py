"""`aepo train`."""

from __future__ import annotations

from math import nan
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from aepo import config as configuration
from aepo.cli.words import file_and_settings
from aepo.config import Config

TRIAL = 4
"""Questions that `--dry-run` asks."""


def train(
    config: Positional[str | None] = None,
    overrides: Positional[tuple[str, ...]] = (),
    /,
    resume: Annotated[Path | None, arg(metavar="RUN")] = None,
    engine: Annotated[str | None, arg(metavar="{local,vllm,verl}")] = None,
    dry_run: bool = False,
) -> None:
    """Train a policy.

    Args:
        config: YAML file, or a name such as quickstart; without one the class defaults are used.
        overrides: Settings on top of it, e.g. train.steps=50 algorithm.name=grpo.
        resume: Go on with the run of this folder, with its own configuration and the overrides.
        engine: The engine that samples and trains, instead of the configuration's.
        dry_run: Load everything, print the resolved configuration and what a step is expected to cost, and train
            nothing. The engine local samples in place of vllm. With engine verl it prints what the configuration
            becomes there.
    """
    file, overrides = file_and_settings(config, overrides)
    if engine is not None:
        overrides = (*overrides, f"engine={engine}")
    if resume is not None:
        if file is not None:
            raise configuration.ConfigError(f"--resume takes the configuration of {resume}: leave {file} out")
        from aepo.runs.folder import CONFIG

        file = resume / CONFIG
    settings = configuration.load(file, overrides)
    if resume is not None:
        settings = settings.model_copy(update={"run": str(resume)})
    if dry_run:
        print(configuration.dump(settings))
        print(on_verl(settings) if settings.engine == "verl" else expected_cost(settings))
        return
    from aepo.runs.folder import in_shell
    from aepo.start import train_config

    run = train_config(settings, resume=resume is not None)
    print(learned(run.folder))
    print(f"run     {run.folder}")
    folder = in_shell(run.folder)
    print(f"policy  aepo export {folder} FOLDER" if settings.engine == "verl" else f"policy  aepo eval {folder}")
    print(f"trees   aepo view {folder}")


def learned(run: Path) -> str:
    """Held-out success before and after a run, a line each."""
    from aepo.evaluation.intervals import Interval
    from aepo.runs.folder import RunFolder

    rows = RunFolder(run).evaluations()
    lines = []
    for row in {row["step"]: row for row in (*rows[:1], *rows[-1:])}.values():
        sampled = Interval(row["eval/success"], row.get("eval/success_low", nan), row.get("eval/success_high", nan))
        greedy = f"  greedy {row['eval/greedy']:.3f}" if "eval/greedy" in row else ""
        lines.append(f"held-out success after {row['step']:>4} steps  sampled {sampled}{greedy}")
    return "\n".join(lines) or "no held-out questions were asked"


def on_verl(config: Config) -> str:
    """What a configuration becomes on verl."""
    from aepo import tasks
    from aepo.engines.prompts import longest_prompt
    from aepo.engines.verl import launch
    from aepo.engines.verl.settings import explained

    config = launch.placed(config)
    return explained(config, len(longest_prompt(config, tasks.load(config.task.name, config.task.options))))


def expected_cost(config: Config) -> str:
    """What a step costs, by a trial with the real model and tools; it is sampled here, whatever the engine."""
    from aepo import tasks
    from aepo.doctor.trial import cost_of_a_step, prepared, trial

    task, told = tasks.load(config.task.name, config.task.options), ""
    if config.engine == "vllm":
        from aepo.doctor.gpus import check
        from aepo.engines.vllm.launch import planned

        planned(config, task, check)
        told = "no vLLM server was started: the engine local sampled this trial\n"
    _, parts, equipment = prepared(config, task)
    return told + cost_of_a_step(config, trial(config, parts, equipment, TRIAL))
