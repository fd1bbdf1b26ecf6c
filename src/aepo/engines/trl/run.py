"""A run of `engine: trl`: a whole configuration under `AEPOTrainer`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch
from transformers import PrinterCallback

from aepo.config import Config, ConfigError
from aepo.engines.local.load import quiet
from aepo.engines.local.policy import LocalPolicy
from aepo.engines.trl import checkpoints
from aepo.engines.trl.arguments import from_config
from aepo.engines.trl.dataset import question_dataset
from aepo.engines.trl.keys import refuse
from aepo.engines.trl.recorder import Recorder
from aepo.engines.trl.trainer import AEPOTrainer
from aepo.rollout.chat import make_protocol
from aepo.runs.folder import RunFolder
from aepo.runs.metrics import read_metrics
from aepo.signals import signals_wait
from aepo.tasks.base import Task
from aepo.tools.counts import counting
from aepo.tools.limits import Budget
from aepo.training.budget import Spent, ended, steps_at_most
from aepo.training.display import Display
from aepo.training.optimizer import AdamW, rate_factor
from aepo.training.sampling import step_questions
from aepo.training.trackers import make_trackers


def prepare(config: Config, policy: LocalPolicy, task: Task) -> AEPOTrainer:
    """The trainer of a run, all of it checked before there is a run folder.

    Questions come in the order of `engine: local`; its optimizer and its schedule are those of `engine: local` too.

    Args:
        config: The run's.
        policy: Trained in place.
        task: With the tools as the run calls them.

    Raises:
        ConfigError: A setting cannot be honoured.
        ValueError: Something does not fit.
    """
    refuse(config)
    rollout, train = config.rollout, config.train
    held_out = task.held_out[: config.evaluation.questions]
    protocol = make_protocol(rollout.protocol, policy.tokenizer, task.tools, task.system, rollout.date)
    longest = max(len(protocol.prompt(s.question)) for s in (*task.samples, *held_out)) + rollout.max_tokens
    asked = [
        sample
        for step in range(train.steps)
        for sample in step_questions(task.samples, rollout.questions, config.seed, step)
    ]
    optimizer = AdamW(policy.parameters(), train.learning_rate, train.weight_decay)
    total = train.steps * train.minibatches * train.epochs
    factor = rate_factor(train.schedule, train.warmup, total)
    trainer = AEPOTrainer(
        policy.model,
        from_config(config, Path(config.run) / "checkpoints", longest, policy.device.type, bool(held_out)),
        task=task,
        algorithm=config.algorithm,
        train_dataset=question_dataset(asked),
        eval_dataset=question_dataset(held_out) if held_out else None,
        processing_class=policy.tokenizer,
        optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)),
        protocol=rollout.protocol,
        max_tool_calls=rollout.max_tool_calls,
        max_sequences=rollout.max_sequences,
        deterministic=rollout.deterministic,
        on_tool_bug=rollout.on_tool_bug,
        repeat=config.tools.repeat,
        date=rollout.date,
        rewards_at_once=config.rewards.concurrency,
        layout=train.layout,
        eval_greedy=config.evaluation.greedy,
    )
    used = trainer.model.device
    if (used.type, used.index or 0) != (policy.device.type, policy.device.index or 0):
        raise ConfigError(f"model.device is {config.model.device!r}, but accelerate trains on {used}: set it to auto")
    return trainer


def run(
    trainer: AEPOTrainer, config: Config, folder: RunFolder, display: Display, resume: bool, budget: Budget | None
) -> None:
    """Train to the end.

    A failure or Ctrl-C while trajectories are sampled leaves a checkpoint after the last whole step.

    Args:
        trainer: Of `prepare`.
        config: The run's.
        folder: Where it writes.
        display: Who is told.
        resume: Go on from the newest whole checkpoint; without one the run starts anew.
        budget: What tools may be used for; None without a limit.

    Raises:
        KeyboardInterrupt: After that checkpoint.
        RolloutError: A tool has a bug.
        BudgetSpent: Tools may not be used any more.
        ReplayError: A recording does not have a result.
        NonFiniteLoss: The loss or its gradient is NaN or infinite.
    """
    start = checkpoints.newest(folder.checkpoints) if resume else None
    done = 0 if start is None else checkpoints.optimizer_step(start) // trainer.steps_per_rollout
    # Without a checkpoint nothing is kept, not even the evaluation before the first step.
    kept = None if not resume else -1 if start is None else done
    if kept is not None:
        folder.truncate_after(max(kept, 0))
    trackers = make_trackers(config.train.trackers, folder.path, kept)
    steps = steps_at_most(config.train, config.rollout.questions * config.algorithm.group_size)
    display.start(steps, f"{config.algorithm.name} on {config.task.name}, seed {config.seed}, under TRL", done)
    try:
        with counting() as counts, quiet():
            recorder = Recorder(trainer, config, folder, trackers, display, counts, budget)
            recorder.go_on(read_metrics(folder.metrics_file), done)
            # It would write the logs of TRL into the display.
            trainer.remove_callback(PrinterCallback)
            trainer.add_callback(recorder)
            if start is None:
                recorder.evaluate()
            if start is None or not ended(done, Spent.from_dict(checkpoints.read_state(start)["spent"]), config.train):
                _train(trainer, recorder, start)
            else:
                trainer.policy.restore(start)
                trainer.state.global_step = checkpoints.optimizer_step(start)
            recorder.evaluate()
    finally:
        display.stop()
        for tracker in trackers:
            tracker.close()


def _train(trainer: AEPOTrainer, recorder: Recorder, start: Path | None) -> None:
    """TRL's training; what was trained is not lost to a failure between two steps."""
    try:
        trainer.train(resume_from_checkpoint=None if start is None else str(start))
    except BaseException as error:
        # A disk that refused would refuse again.
        if trainer.sampling and recorder.step and not isinstance(error, OSError):
            # A second signal must not stop what the first one asked for.
            with suppress(KeyboardInterrupt), signals_wait():
                recorder.save()
            tell = error.add_note if isinstance(error, Exception) else recorder.display.message
            tell(f"stopped after step {recorder.step}; go on with: {recorder.folder.resumption()}")
        raise
