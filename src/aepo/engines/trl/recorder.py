"""A run's folder under TRL's trainer: metrics, trees and outcomes as a run of `engine: local` leaves them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from aepo.config import Config
from aepo.engines.trl.trainer import AEPOTrainer
from aepo.evaluation.outcomes import outcomes
from aepo.runs.folder import RunFolder
from aepo.tools.counts import taken
from aepo.tools.limits import Budget
from aepo.training.alarm import EntropyWatch, watched
from aepo.training.budget import ended
from aepo.training.display import Display
from aepo.training.trackers import Tracker


class Recorder(TrainerCallback):
    """Writes a run's folder, tells the display, and ends a run whose budget is spent.

    Args:
        trainer: Whose rollouts and evaluations are recorded.
        config: The run's.
        folder: Where to write.
        trackers: Where metrics go.
        display: Who is told.
        counts: What tools did beside answering.
        budget: What tools may be used for; None without a limit.

    Attributes:
        evaluated: The step of the last evaluation.
        saved: The optimizer step of the last checkpoint.
    """

    def __init__(
        self,
        trainer: AEPOTrainer,
        config: Config,
        folder: RunFolder,
        trackers: Sequence[Tracker],
        display: Display,
        counts: Counter[str],
        budget: Budget | None,
    ) -> None:
        self.trainer, self.config, self.folder, self.trackers, self.display = trainer, config, folder, trackers, display
        self.counts, self.budget = counts, budget
        band = config.train.entropy_band
        self.watch = None if band is None else EntropyWatch(band)
        self.evaluated: int | None = None
        self.saved: int | None = None

    def go_on(self, rows: Sequence[Mapping[str, Any]], step: int) -> None:
        """Take up what the metrics of a resumed run know.

        Args:
            rows: Up to its step.
            step: Rollouts that it was trained on.
        """
        for row in rows:
            if self.watch is not None and "entropy/policy" in row:
                self.watch = self.watch.after(row["entropy/policy"])
            if row["step"] == step and "eval/success" in row:
                self.evaluated = step

    def evaluate(self) -> None:
        """Evaluate, if there are questions for it and it was not done after this step."""
        if self.trainer.eval_dataset is not None and self.evaluated != self.step:
            self.display.phase("evaluate")
            self.trainer.evaluate()

    def save(self) -> None:
        """Write a checkpoint after the last whole step, if there is none."""
        if self.saved != self.trainer.state.global_step:
            self.trainer._save_checkpoint(self.trainer.model, None)
            self.on_save(self.trainer.args, self.trainer.state, self.trainer.control)

    @property
    def step(self) -> int:
        """Rollouts that were trained to their end."""
        return int(self.trainer.state.global_step // self.trainer.steps_per_rollout)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> TrainerControl:
        """Say what comes."""
        if state.global_step % self.trainer.steps_per_rollout == 0:
            self.display.phase("rollout and training")
        return control

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> TrainerControl:
        """After the last optimizer step of a rollout, keep what it came to; end a run whose budget is spent."""
        if state.global_step % self.trainer.steps_per_rollout:
            return control
        rollout = self.trainer.rollout
        assert rollout is not None
        metrics: dict[str, Any] = {**rollout.all_metrics(), **self._tool_counts()}
        assert self.trainer.lr_scheduler is not None
        metrics["train/learning_rate"] = self.trainer.lr_scheduler.get_last_lr()[0]
        metrics |= self._watch_entropy(metrics.get("entropy/policy"))
        if self.step % self.config.train.trees_every == 0 or self.step == 1:
            self.folder.save_trees(self.step, rollout.groups.sampled, self.trainer.policy.decode)
        self._log(metrics)
        if ended(self.step, self.trainer.spent, self.config.train):
            control.should_training_stop = control.should_save = True
        return control

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> TrainerControl:
        """Keep what an evaluation found."""
        result = self.trainer.evaluation
        assert result is not None
        self.evaluated = self.step
        # Before the metrics, which tell a resumed run that this evaluation is done.
        self.folder.save_outcomes(self.step, outcomes(result))
        self._log({**result.metrics(), **{f"eval/{name}": value for name, value in self._tool_counts().items()}})
        return control

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any
    ) -> TrainerControl:
        """Note it, and take away TRL's draft of a model card, which does not belong to a run."""
        self.saved = state.global_step
        (Path(str(args.output_dir)) / "README.md").unlink(missing_ok=True)
        return control

    def _watch_entropy(self, entropy: float | None) -> dict[str, float]:
        self.watch, found = watched(self.watch, entropy, self.display.message)
        return found

    def _tool_counts(self) -> dict[str, float]:
        return taken(self.counts) | ({} if self.budget is None else self.budget.metrics())

    def _log(self, metrics: dict[str, Any]) -> None:
        for tracker in self.trackers:
            tracker.log(self.step, metrics)
        self.display.step(self.step, metrics)
