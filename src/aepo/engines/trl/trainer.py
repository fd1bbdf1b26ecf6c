"""`AEPOTrainer`: TRL's `GRPOTrainer` with our rollout, advantage and loss.

TRL keeps what is around them: arguments, data loader, optimizer, schedule, accumulation, logs, checkpoints. Of its own
methods two are replaced: `_prepare_inputs`, which it calls for the trajectories of a forward pass, and `_compute_loss`.
"""

from __future__ import annotations

import datetime
import random
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from datasets import Dataset
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer

from aepo import api, event_loop
from aepo.algorithms import AEPO, AnyAlgorithm
from aepo.config import Config, EvaluationConfig, RewardsConfig, RolloutConfig, ToolsConfig, TrainConfig
from aepo.core.aggregation import row_weights
from aepo.core.exploration import ExplorationState
from aepo.engines.local.adapters import find_adapter
from aepo.engines.local.load import Policy
from aepo.engines.local.logprobs import ModelLogprobs
from aepo.engines.local.policy import LocalPolicy
from aepo.engines.trl.arguments import check, optimizer_steps
from aepo.engines.trl.batches import MicroBatch, divide
from aepo.engines.trl.checkpoints import read_state, write_state
from aepo.engines.trl.dataset import asked, check_rows, question_dataset
from aepo.engines.trl.figures import LOGGED_AS, Rollout
from aepo.evaluation.runner import Evaluation, evaluate
from aepo.rewards.score import AT_ONCE
from aepo.rollout.agent import OnToolBug
from aepo.tasks.base import Task
from aepo.training.batch import flat_batch
from aepo.training.budget import Spent
from aepo.training.metrics import exploration_update, rollout_metrics
from aepo.training.objective import Objective, Pass, flat_passes, tree_passes
from aepo.training.sampling import sample_groups
from aepo.training.step import Layout, NonFiniteLoss, note, zero_sums
from aepo.training.tree import forest
from aepo.types import Sample

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback


class AEPOTrainer(GRPOTrainer):
    """Trains a causal LM on a task of ours, under any of our algorithms.

    A group is `num_generations` trajectories of one tree. Rewards, trees and entropies are those of the rollout; the
    model that is trained samples, in this process. Metrics go where TRL's go, under our names (`reward/mean`,
    `branch/per_group` and so on).

    Args:
        model: Folder or hub name, "atlas", the folder of a run, or a loaded model. The KL term is measured against it
            as it is given, adapter included.
        args: TRL's. What the algorithm and our rollout replace must be left at its default; `bf16=False` is needed.
        task: Questions, tools and reward.
        algorithm: `AEPO(group_size=args.num_generations)` by default.
        train_dataset: Of `question_dataset`, to choose or to order the task's questions; all of them by default.
        eval_dataset: The same, to evaluate with; the task's held-out questions by default.
        processing_class: The tokenizer; the model's own by default.
        callbacks: As in TRL.
        optimizers: As in TRL.
        peft_config: As in TRL.
        protocol: "tags", or "chat" for the model's own template with JSON tool calls.
        max_tool_calls: Of a trajectory.
        max_sequences: Trajectories in the engine at once.
        deterministic: Make even rounding independent of which tool answers first, at some cost in speed.
        on_tool_bug: An exception other than `ToolError` in a tool stops training, or is told to the model.
        repeat: A call that a trajectory has made before is run again, or answered by the trajectory.
        date: The day that a chat template is told when it asks; today's by default.
        rewards_at_once: Calls of the reward at once.
        layout: "tree" computes each distinct token of a forward pass once, "flat" each trajectory whole.
        eval_greedy: Whether evaluations take a greedy trajectory a question beside the sampled ones.

    Attributes:
        algorithm: The algorithm.
        exploration: The run's entropy scales; checkpoints keep them.
        spent: What rollouts have used; kept too.
        rollout: The last one; None before the first.
        evaluation: The last one; None before the first.
        steps_per_rollout: Optimizer steps that a rollout is trained in.
        sampling: Whether trajectories are sampled at the moment; weights and state are whole then.

    Raises:
        ValueError: Something does not fit; the line says what.
    """

    model: PreTrainedModel
    args: GRPOConfig
    _tag_names = ("trl", "aepo")
    _name = "AEPO"

    def __init__(
        self,
        model: str | PreTrainedModel,
        args: GRPOConfig,
        *,
        task: Task,
        algorithm: AnyAlgorithm | None = None,
        train_dataset: Dataset | None = None,
        eval_dataset: Dataset | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        callbacks: list[TrainerCallback] | None = None,
        optimizers: tuple[Any, Any] = (None, None),
        peft_config: PeftConfig | None = None,
        protocol: Literal["tags", "chat"] = "tags",
        max_tool_calls: int = 6,
        max_sequences: int = 128,
        deterministic: bool = False,
        on_tool_bug: OnToolBug = "stop",
        repeat: Literal["run", "answer"] = "run",
        date: datetime.date | None = None,
        rewards_at_once: int = AT_ONCE,
        layout: Layout = "tree",
        eval_greedy: bool = True,
    ) -> None:
        self.algorithm = algorithm or AEPO(group_size=args.num_generations)
        check(args, self.algorithm)
        self.task, self.layout, self.eval_greedy = task, layout, eval_greedy
        self.steps_per_rollout = optimizer_steps(args)
        self._questions = {sample.id: sample for sample in task.samples}
        self._eval_questions = {sample.id: sample for sample in task.held_out or task.samples}
        if train_dataset is None:
            train_dataset = question_dataset(task.samples)
        if eval_dataset is None and task.held_out:
            eval_dataset = question_dataset(task.held_out)
        check_rows("train_dataset", train_dataset, self._questions)
        if eval_dataset is not None:
            check_rows("eval_dataset", eval_dataset, self._eval_questions)
        together = args.generation_batch_size // args.num_generations
        if len(train_dataset) < together:
            raise ValueError(f"train_dataset has {len(train_dataset)} questions, and a rollout takes {together}")
        super().__init__(
            model=_whole_model(model) if isinstance(model, str) else model,
            reward_funcs=[_given_in_the_rollout],
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            callbacks=callbacks,
            optimizers=optimizers,
            peft_config=peft_config,
        )
        if not any(parameter.requires_grad for parameter in self.model.parameters()):
            raise ValueError("no weight of the model can be trained: load its adapter with is_trainable=True")
        _refuse_dropout(self.model)
        config = Config(
            seed=args.seed,
            engine="trl",
            algorithm=self.algorithm,
            rollout=RolloutConfig(
                protocol=protocol,
                questions=together,
                temperature=args.temperature,
                max_tokens=args.max_completion_length,
                max_tool_calls=max_tool_calls,
                max_sequences=max_sequences,
                deterministic=deterministic,
                on_tool_bug=on_tool_bug,
                date=date,
            ),
            rewards=RewardsConfig(concurrency=rewards_at_once),
            tools=ToolsConfig(repeat=repeat),
            train=TrainConfig(layout=layout),
            evaluation=EvaluationConfig(samples=self.num_generations_eval, greedy=eval_greedy),
        )
        self._rewards = api.scorer_of(task, config)
        path = getattr(self.model.config, "_name_or_path", "")
        self.policy = LocalPolicy(Policy(self.model, self._tokenizer, path, self.model.device))
        asked = [*task.samples, *task.held_out]
        self._agent, self._greedy = api.agents(self.policy, task, config, asked)
        if layout == "tree":
            self.policy.refuse_tree(self._agent.protocol.prompt(asked[0].question))
        self._logprobs = ModelLogprobs(self.model, len(self._tokenizer))
        self._reference = self.policy.frozen() if self.algorithm.kl_weight > 0 else None
        self._rules = self.algorithm.exploration()
        self.exploration: ExplorationState = self._rules.initial_state(len(self._tokenizer))
        self.spent = Spent()
        self.rollout: Rollout | None = None
        self.evaluation: Evaluation | None = None
        self.sampling = False
        self._micro_batches: list[MicroBatch] = []
        self._sums = zero_sums(layout)

    def _prepare_inputs(self, generation_batch: Sequence[Mapping[str, Any]]) -> MicroBatch:
        """The trajectories of the next forward pass; samples a rollout where the last one is trained."""
        at = self._step % (self.args.steps_per_generation * self.num_iterations)
        if at == 0:
            # TRL repeats each question for its group.
            self._micro_batches = self._sample(asked(generation_batch[:: self.num_generations], self._questions))
        return self._micro_batches[at]

    def _sample(self, samples: Sequence[Sample]) -> list[MicroBatch]:
        """One rollout, scored, and divided into forward passes."""
        began = time.perf_counter()
        step, seed = self.state.global_step // self.steps_per_rollout, self.args.seed
        self.sampling = True
        groups = event_loop.run(
            sample_groups,
            samples,
            self.task.samples,
            self._agent,
            self._rewards,
            self.algorithm,
            self.exploration,
            seed,
            step,
        )
        self.sampling = False
        batch = flat_batch(groups.kept, self.algorithm, self._tokenizer.pad_token_id, self.max_completion_length)
        self.exploration = exploration_update(groups.sampled, self.exploration)
        self.spent = self.spent.after(groups.sampled)
        metrics = rollout_metrics(groups.sampled, self._rules.entropy_window, list(self._agent.tools))
        metrics |= groups.metrics() | self.spent.metrics()
        self.rollout = Rollout(step + 1, groups, metrics, began)
        for name, value in metrics.items():
            if not isinstance(value, dict):
                self._metrics["train"][name].append(value)
        return divide(
            batch,
            self.args.steps_per_generation // self.args.gradient_accumulation_steps,
            self.args.gradient_accumulation_steps,
            self.num_iterations,
            random.Random(f"minibatches {seed} {step}"),
            self._reference,
        )

    def _compute_loss(self, model: torch.nn.Module, inputs: MicroBatch) -> Tensor:
        """The algorithm's loss; those of an optimizer step add up to its mean.

        Raises:
            NonFiniteLoss: It is not finite; the step was not taken.
        """
        self._sums["train/idle_share"] += inputs.idle_share / self.args.gradient_accumulation_steps
        if inputs.batch is None:
            # Nothing is learned, but momentum must go on.
            return torch.stack([(p * 0).sum() for p in self.model.parameters() if p.requires_grad]).sum()
        of = Objective(
            self.algorithm, self._logprobs, self._reference, self.temperature, inputs.tokens, inputs.trajectories
        )
        found = self._pass(of, inputs.batch)
        if not bool(torch.isfinite(found.loss)):
            raise NonFiniteLoss("the loss is not finite: check the rewards, and lower the learning rate")
        note(self._sums, found, of, inputs.computed)
        return found.loss

    def _pass(self, of: Objective, batch: Any) -> Pass:
        if self.layout == "flat":
            return next(flat_passes(of, [batch.to(self.model.device)]))
        weights_B = row_weights(batch.loss_mask_BT, self.algorithm.aggregation, of.tokens, of.trajectories)
        grown = forest(batch, weights_B, sys.maxsize)
        self._sums["train/distinct_tokens"] += grown.distinct_tokens
        self._sums["flat_tokens"] += grown.flat_tokens
        return next(tree_passes(of, [tree.to(self.model.device) for tree in grown.batches]))

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """As TRL's; after the last forward pass of an optimizer step its gradient is checked and its figures logged.

        Raises:
            NonFiniteLoss: The gradient is not finite; the step was not taken.
        """
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        if self.accelerator.sync_gradients:
            norm = torch.nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
            if not bool(torch.isfinite(norm)):
                raise NonFiniteLoss("the gradient is not finite; lower the learning rate")
            figures = {**self._sums, "grad/norm": float(norm)}
            self._sums = zero_sums(self.layout)
            for name, value in figures.items():
                # TRL logs the loss itself.
                if name not in ("loss", "flat_tokens"):
                    self._metrics["train"][LOGGED_AS.get(name, name)].append(value)
            assert self.rollout is not None
            self.rollout.updates.append(figures)
        return loss

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Pass@1, Pass@`num_generations_eval`, greedy success, tool calls and tokens, as `eval_success` and so on.

        Args:
            eval_dataset: Of `question_dataset`; the trainer's by default.
            ignore_keys: There are none.
            metric_key_prefix: Instead of "eval".

        Raises:
            ValueError: There are no questions.
        """
        rows = self.eval_dataset if eval_dataset is None else eval_dataset
        if rows is None or len(rows) == 0:
            raise ValueError(f"no question of task {self.task.name!r} to evaluate with: give eval_dataset")
        check_rows("eval_dataset", rows, self._eval_questions)
        greedy = self._greedy if self.eval_greedy else None
        self.sampling = True
        self.evaluation = event_loop.run(
            evaluate,
            asked(rows, self._eval_questions),
            self._rewards,
            self._agent,
            greedy,
            self.num_generations_eval,
            self.args.seed,
        )
        self.sampling = False
        metrics = {
            f"{metric_key_prefix}_{name.removeprefix('eval/')}": value
            for name, value in self.evaluation.metrics().items()
        }
        # TRL tells by it whose metrics it logs.
        self.model.eval()
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        write_state(Path(output_dir), self.exploration, self.spent)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        if self.state.global_step % self.steps_per_rollout:
            raise ValueError(
                f"cannot go on from {checkpoint}: it was saved amid a rollout, whose {self.steps_per_rollout} "
                "optimizer steps belong together"
            )
        state = read_state(Path(checkpoint))
        self.exploration = ExplorationState.from_dict(state["exploration"])
        self.spent = Spent.from_dict(state["spent"])


def _given_in_the_rollout(completions: list[Any], **columns: Any) -> list[float]:
    """TRL's trainer asks for a function of rewards; it calls it in methods that are replaced here."""
    raise AssertionError("rewards are given where trajectories end")


def _whole_model(path: str) -> str:
    """Where TRL finds the model; it would put an adapter on its model such that nothing is trained.

    Raises:
        ValueError: It is an adapter.
    """
    folder = api.policy_folder(path)
    if (adapter := find_adapter(folder)) is not None:
        raise ValueError(
            f"{path} is an adapter: give peft.PeftModel.from_pretrained(model, {adapter.path!r}, is_trainable=True), "
            f"with {adapter.base} as model, to train it on; or its merge_and_unload(), to train all weights"
        )
    return folder


def _refuse_dropout(model: PreTrainedModel) -> None:
    """Check that a model in training computes what it sampled by.

    Raises:
        ValueError: It has dropout.
    """
    inside = any(isinstance(module, torch.nn.Dropout) and module.p > 0 for module in model.modules())
    attention = getattr(model.config.get_text_config(), "attention_dropout", 0.0) or 0.0
    if inside or attention > 0:
        raise ValueError(
            "the model has dropout, which would train another policy than the one that sampled: set "
            "GRPOConfig.disable_dropout=True" + (", and attention_dropout of its config to 0" if attention else "")
        )
