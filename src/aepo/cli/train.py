"""`aepo train`."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from aepo import config as configuration
from aepo.cli.words import file_and_settings
from aepo.config import Config, TrainConfig

if TYPE_CHECKING:
    from aepo.training.budget import Spent


def train(
    config: Positional[str | None] = None,
    overrides: Positional[tuple[str, ...]] = (),
    /,
    resume: Annotated[Path | None, arg(metavar="RUN")] = None,
    engine: Annotated[str | None, arg(metavar="{local,verl}")] = None,
    dry_run: bool = False,
) -> None:
    """Train a policy.

    Args:
        config: YAML file; without one the class defaults are used.
        overrides: Settings on top of it, e.g. train.steps=50 algorithm.name=grpo.
        resume: Go on with the run of this folder, with its own configuration and the overrides.
        engine: What samples and trains, instead of the configuration's.
        dry_run: Load everything, print the resolved configuration and what a step is expected to cost, train nothing;
            of engine verl, what the configuration becomes there.
    """
    file, overrides = file_and_settings(config, overrides)
    if engine is not None:
        overrides = (*overrides, f"engine={engine}")
    if resume is not None:
        if file is not None:
            raise configuration.ConfigError(f"--resume takes the configuration of {resume}: leave {file} out")
        file = resume / "config.yaml"
    settings = configuration.load(file, overrides)
    if resume is not None:
        settings = settings.model_copy(update={"run": str(resume)})
    if dry_run:
        print(configuration.dump(settings))
        print(on_verl(settings) if settings.engine == "verl" else expected_cost(settings))
        return
    from aepo.api import train_config
    from aepo.runs.folder import in_shell

    run = train_config(settings, resume=resume is not None)
    print(learned(run.folder))
    print(f"run     {run.folder}")
    folder = in_shell(run.folder)
    print(f"policy  aepo export {folder} FOLDER" if settings.engine == "verl" else f"policy  aepo eval {folder}")
    print(f"trees   aepo view {folder}")


def learned(run: Path) -> str:
    """Held-out success before and after a run, a line each."""
    from aepo.runs.metrics import read_metrics

    rows = [row for row in read_metrics(run / "metrics.jsonl") if "eval/success" in row]
    lines = []
    for row in {row["step"]: row for row in (*rows[:1], *rows[-1:])}.values():
        interval = (
            f"[{row['eval/success_low']:.3f}, {row['eval/success_high']:.3f}]" if "eval/success_low" in row else ""
        )
        greedy = f"  greedy {row['eval/greedy']:.3f}" if "eval/greedy" in row else ""
        lines.append(
            f"held-out success after {row['step']:>4} steps  sampled {row['eval/success']:.3f} {interval}{greedy}"
        )
    return "\n".join(lines) or "no held-out questions were asked"


def on_verl(config: Config) -> str:
    """What a configuration becomes on verl."""
    from aepo import tasks
    from aepo.engines.verl import launch
    from aepo.engines.verl.settings import explained

    config = launch.placed(config)
    return explained(config, launch.longest_prompt(config, tasks.load(config.task.name, config.task.options)))


def expected_cost(config: Config, trial: int = 4) -> str:
    """What a step costs, from a trial rollout of a few questions with the real model and tools.

    Args:
        config: The resolved configuration.
        trial: Questions of the trial.
    """
    from dataclasses import replace

    from aepo import event_loop, tasks
    from aepo.assembly.equipment import equip
    from aepo.assembly.parts import build
    from aepo.rollout.explorer import Seeds, explore
    from aepo.training.budget import Spent

    task = tasks.load(config.task.name, config.task.options)
    equipment = equip(config, task.tools, "replay" if config.tools.mode == "replay" else "live")
    _, parts = build(config, replace(task, tools=equipment.tools))
    rules = config.algorithm.exploration()
    samples = list(parts.questions[:trial])
    state, seeds = rules.initial_state(parts.vocab_size), Seeds(config.seed, "dry run")
    with equipment.in_use(Path(config.run)):
        groups = event_loop.run(explore, samples, parts.agent, rules, state, seeds, parts.scorer)
    scale = config.rollout.questions / len(groups)
    spent = Spent().after(groups)
    stored = sum(g.tree.distinct_tokens() for g in groups)
    trajectories = config.rollout.questions * rules.group_size
    written, calls = spent.tokens_sampled * scale, spent.executed_calls * scale
    rounds = config.algorithm.rounds
    again = f", sampled up to {rounds} times" if rounds > 1 else ""
    most = trajectories * rounds
    return "\n".join(
        [
            f"a step, expected from a trial of {len(groups)} questions:",
            f"  trajectories    {trajectories} ({config.rollout.questions} questions x {rules.group_size}{again})",
            f"  tokens sampled  {written:,.0f} (at most {most * config.rollout.max_tokens:,})",
            f"  tokens stored   {stored * scale:,.0f}, prompts and results included",
            f"  tool calls      {calls:,.0f} (at most {most * config.rollout.max_tool_calls:,})",
            f"  optimizer steps {min(config.train.minibatches, config.rollout.questions) * config.train.epochs}",
            f"the run is expected to end after {expected_steps(config.train, spent, scale):,} steps",
        ]
    )


def expected_steps(train: TrainConfig, trial: Spent, scale: float) -> int:
    """Steps until the first of a run's limits.

    Args:
        train: The limits.
        trial: What a trial rollout used.
        scale: How many such trials a step is.
    """
    used = (
        (train.max_trajectories, trial.trajectories),
        (train.max_sampled_tokens, trial.tokens_sampled),
        (train.max_executed_calls, trial.executed_calls),
    )
    return min([train.steps, *(ceil(limit / (one * scale)) for limit, one in used if limit is not None and one)])
