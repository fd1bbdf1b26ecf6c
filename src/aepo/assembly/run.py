"""Runs a training in this process, from its configuration to the trained policy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from aepo.assembly.parts import build
from aepo.config import Config, ConfigError
from aepo.engines.local.gpus import idle
from aepo.engines.local.policy import LocalPolicy
from aepo.engines.vllm.sampler import VllmSampler
from aepo.equipment.tools import equip
from aepo.runs.begun import run_folder
from aepo.runs.failures import failures_kept
from aepo.runs.stamped import begins
from aepo.tasks.base import Task
from aepo.training.display import Display
from aepo.training.loop import Trainer
from aepo.training.rate import with_rate
from aepo.training.trackers import OnStep

if TYPE_CHECKING:
    from aepo.engines.vllm.launch import Fits, Serving


def run_here(
    config: Config, task: Task, resume: bool, named: bool, display: Display, fits: Fits, on_step: OnStep | None
) -> LocalPolicy:
    """Train and write to the run folder; arguments and errors as of `aepo.start.train_task`.

    `fits` is asked before a server starts (`aepo.engines.vllm.launch.planned`).
    """
    _one_process(config)
    equipment = equip(config, task.tools)
    equipped = equipment.of(task)
    with _serving(config, equipped, fits) as serving:
        sampled_by = None if serving is None else partial(VllmSampler, serving)
        policy, parts = build(config, equipped, equipment.budget, sampled_by)
        size = sum(parameter.numel() for parameter in policy.model.parameters())
        automatic, config = config.train.learning_rate == "auto", with_rate(config, size)
        with run_folder(config, task, named, resume) as folder:
            if not resume and (line := begins(folder.path)) is not None:
                display.message(line)
            if serving is not None:
                serving.server.move_log(folder.path / "vllm.log")
            # Nobody here knows the GPUs of a server that the user started.
            served = () if serving is None else serving.needs.placed.numbers
            if config.vllm.url is None and (line := idle(policy.device, served)) is not None:
                display.message(line)
            if automatic:
                rate, lora = config.train.learning_rate, " and LoRA" if config.model.lora else ""
                display.message(f"train.learning_rate: auto is {rate:g} for {size / 1e6:,.1f} million parameters{lora}")
            with failures_kept(folder), equipment.in_use(folder.path, keep=True, resume=resume):
                trainer = Trainer(config, parts, folder, display, resume, on_step)
                trainer.run()
    if trainer.state.instructions is not None:
        policy.instruction = trainer.state.instructions.best.text
    return policy


def _one_process(config: Config) -> None:
    """Refuse a start by torchrun, each of whose processes would train a policy of its own.

    Raises:
        ConfigError: There are several processes.
    """
    count = os.environ.get("WORLD_SIZE", "")
    if count.isdecimal() and int(count) > 1:
        raise ConfigError(
            f"{count} processes were started (WORLD_SIZE, by torchrun?), and engine {config.engine} trains in one: "
            "start one with aepo train, or train on several GPUs with engine: verl (docs/cluster.md)"
        )


@contextmanager
def _serving(config: Config, task: Task, fits: Fits) -> Iterator[Serving | None]:
    """The server that samples, if one does."""
    if config.engine != "vllm":
        yield None
        return
    from aepo.engines.vllm.launch import serving

    with serving(config, task, fits) as server:
        yield server
