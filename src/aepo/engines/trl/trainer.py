"""`AEPOTrainer`: TRL's `GRPOTrainer` with our rollout, advantage and loss.

TRL does the rest: arguments, data loader, optimizer, schedule, accumulation, logs, checkpoints. Two of its methods are
replaced: `_prepare_inputs`, which gives the trajectories of a forward pass, and `_compute_loss`.
"""

from __future__ import annotations

import datetime
import json
import logging
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from datasets import Dataset
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer

from aepo.algorithms import AEPO, AnyAlgorithm
from aepo.config import Config, InstructionsConfig, Layout, RewardsConfig, RolloutConfig, ToolsConfig, TrainConfig
from aepo.core.exploration import ExplorationState
from aepo.engines.local.load import LoadedModel
from aepo.engines.local.logprobs import ModelLogprobs
from aepo.engines.local.policy import LocalPolicy
from aepo.engines.trl import arguments as given
from aepo.engines.trl.batches import MicroBatch, divide
from aepo.engines.trl.loss import StepLoss
from aepo.engines.writer import renewal_of
from aepo.equipment.agents import agents, scorer_of
from aepo.evaluation.runner import Evaluation, evaluate
from aepo.files.instruction import write_instruction
from aepo.process import event_loop
from aepo.rewards.score import AT_ONCE, RewardScorer
from aepo.rollout.agent import Agent, OnFormatError
from aepo.rollout.together import OnToolBug, Repeat
from aepo.tasks.base import Task
from aepo.tools.counts import counting, taken
from aepo.training.batch import flat_batch
from aepo.training.budget import Spent
from aepo.training.metrics import exploration_update, rollout_metrics
from aepo.training.optimizer import AdamW
from aepo.training.sampling import StepGroups, sample_groups
from aepo.training.step import NonFiniteLoss
from aepo.types import Sample

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

_log = logging.getLogger(__name__)
STATE_FILE = "exploration.json"
STATE_FORMAT = 1


class TrainerRollout(NamedTuple):
    """A rollout: its number in the run, from 1, and its groups."""

    step: int
    groups: StepGroups


class _Sampling(NamedTuple):
    agent: Agent
    greedy: Agent | None
    scorer: RewardScorer


def _data_sets(
    args: GRPOConfig, task: Task, train: Dataset | None, held_out: Dataset | None
) -> tuple[Dataset, Dataset | None]:
    """The questions to train on and those to evaluate on, from the task where none are given."""
    together = args.generation_batch_size // args.num_generations
    train = given.data_set("train_dataset", train, task.samples, together)
    if held_out is not None or task.held_out:
        held_out = given.data_set("eval_dataset", held_out, task.held_out or task.samples)
    return train, held_out


class AEPOTrainer(GRPOTrainer):
    """Trains a causal LM on a task of ours, under any of our algorithms.

    A group is `num_generations` trajectories of one tree. Rewards, trees and entropies are those of the rollout. The
    trained model samples in this process. Metrics go where TRL's go, under our names (`reward/mean`,
    `branch/per_group` and so on).

    Args:
        model: Folder or hub name, "atlas", "house", a run folder, or a loaded model. It is also the reference of the KL
            term, adapter included.
        args: TRL's arguments. Those that the algorithm and our rollout replace must have their defaults; `bf16=False`
            is needed.
        task: Questions, tools and reward.
        algorithm: The algorithm, `AEPO(group_size=args.num_generations)` by default.
        train_dataset: A result of `question_dataset`, to choose or to order the task's questions; by default all.
        eval_dataset: A result of `question_dataset` for evaluations; by default the task's held-out questions.
        processing_class: The tokenizer; the model's own by default.
        callbacks, optimizers, peft_config: As in TRL. Where TRL would take PyTorch's AdamW for bfloat16 weights, which
            would round most steps away, our `AdamW` steps.
        protocol: "tags", or "chat" for the model's own template and its form of tool calls. The template gets the
            arguments of `GRPOConfig.chat_template_kwargs`.
        max_tool_calls: The largest number of tool calls per trajectory.
        max_seconds: The seconds per trajectory, tools and sampling together; None is no limit.
        max_sequences: The number of trajectories that grow in the engine at once.
        deterministic: Make rounding independent of which tool answers first, at some cost in speed.
        on_tool_bug: Whether an exception other than `ToolError` in a tool stops training, or the model is told.
        on_format_error: Whether a turn that breaks the protocol ends its trajectory, or the model is told and goes on.
            If it goes on, the turn counts as a call and is not trained.
        repeat: Whether a call that a trajectory has made before is run again, or gets the earlier result.
        keep_states: Whether the state of an environment is kept after each result too, in the trees.
        date: Today's date for a chat template that asks for it; today by default.
        rewards_at_once: The number of calls of the reward at once.
        layout: "tree" computes each distinct token of a forward pass once, "flat" each trajectory whole.
        eval_greedy: Whether evaluations also take a greedy trajectory per question.
        instructions: Settings of a population of instructions that evolves with the policy; a step is a rollout.

    Attributes:
        algorithm: The algorithm.
        exploration: The run's entropy scales, kept in checkpoints.
        spent: The resources that rollouts have used, kept in checkpoints.
        population: The instructions, kept in checkpoints; None without `instructions`. A checkpoint and a saved model
            have the best one as `instruction.txt`.
        rollout: The last rollout; None before the first.
        evaluation: The last evaluation; None before the first.

    Raises:
        ValueError: An argument does not fit; the message says which.
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
        max_seconds: float | None = None,
        max_sequences: int = 128,
        deterministic: bool = False,
        on_tool_bug: OnToolBug = "stop",
        on_format_error: OnFormatError = "end",
        repeat: Repeat = "run",
        keep_states: bool = False,
        date: datetime.date | None = None,
        rewards_at_once: int = AT_ONCE,
        layout: Layout = "tree",
        eval_greedy: bool = True,
        instructions: InstructionsConfig | None = None,
    ) -> None:
        self.algorithm, self.task = algorithm or AEPO(group_size=args.num_generations), task
        given.check(args, self.algorithm)
        train_dataset, eval_dataset = _data_sets(args, task, train_dataset, eval_dataset)
        super().__init__(
            model=given.whole_model(model) if isinstance(model, str) else model,
            reward_funcs=[_given_in_the_rollout],
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            callbacks=callbacks,
            optimizers=optimizers,
            peft_config=peft_config,
        )
        rollout = RolloutConfig(
            protocol=protocol,
            temperature=args.temperature,
            max_tokens=args.max_completion_length,
            max_tool_calls=max_tool_calls,
            max_seconds=max_seconds,
            max_sequences=max_sequences,
            deterministic=deterministic,
            on_tool_bug=on_tool_bug,
            on_format_error=on_format_error,
            keep_states=keep_states,
            date=date,
            template=args.chat_template_kwargs or {},
        )
        rewards, tools = RewardsConfig(concurrency=rewards_at_once), ToolsConfig(repeat=repeat)
        train = TrainConfig(layout=layout)
        config = Config(algorithm=self.algorithm, rollout=rollout, rewards=rewards, tools=tools, train=train)
        config = config.model_copy(update={"instructions": instructions or InstructionsConfig(), "seed": args.seed})
        self._prepare_rollout(config, eval_greedy)

    def _prepare_rollout(self, config: Config, eval_greedy: bool) -> None:
        """Make the agents and the scorer, before the first rollout."""
        given.check_model(self.model)
        task = self.task
        path = getattr(self.model.config, "_name_or_path", "")
        self.policy = LocalPolicy(LoadedModel(self.model, self._tokenizer, path, self.model.device))
        asked = [*task.samples, *task.held_out]
        agent, greedy = agents(self.policy, task, config, asked)
        self._sampling = _Sampling(agent, greedy if eval_greedy else None, scorer_of(task, config))
        self._renewal = renewal_of(config, self.policy, agent, self._sampling.scorer, task.samples)
        self.population = None if self._renewal is None else self._renewal.first
        layout = config.train.layout
        if layout == "tree":
            self.policy.refuse_tree(agent.protocol.prompt(asked[0].question))
        logprobs = ModelLogprobs(self.model, len(self._tokenizer))
        reference = self.policy.frozen() if self.algorithm.kl_weight > 0 else None
        passes = self.args.gradient_accumulation_steps
        self._loss = StepLoss(logprobs, reference, self.temperature, layout, passes)
        self.exploration: ExplorationState = self.algorithm.exploration().initial_state(len(self._tokenizer))
        self.spent = Spent()
        self.rollout: TrainerRollout | None = None
        self.evaluation: Evaluation | None = None
        self._micro_batches: list[MicroBatch] = []

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """TRL's optimizer, or our `AdamW` in place of PyTorch's if bfloat16 weights are trained."""
        trained = {p.dtype for p in self.model.parameters() if p.requires_grad}
        if torch.bfloat16 in trained and self.args.optim in ("adamw_torch", "adamw_torch_fused"):
            betas = (self.args.adam_beta1, self.args.adam_beta2)
            settings = {"learning_rate": self.args.learning_rate, "betas": betas, "eps": self.args.adam_epsilon}
            self.optimizer_cls_and_kwargs = (AdamW, settings)
        made: torch.optim.Optimizer = super().create_optimizer(model)
        return made

    @property
    def steps_per_rollout(self) -> int:
        """The number of optimizer steps per rollout."""
        return given.optimizer_steps(self.args)

    def _prepare_inputs(self, generation_batch: Sequence[Mapping[str, Any]]) -> MicroBatch:
        """Take the trajectories of the next forward pass; a new rollout is sampled when the last one is trained."""
        at = self._step % (self.args.steps_per_generation * self.num_iterations)
        if at == 0:
            by_id = {sample.id: sample for sample in self.task.samples}
            # TRL repeats each question `num_generations` times.
            self._micro_batches = self._sample([by_id[row["id"]] for row in generation_batch[:: self.num_generations]])
        return self._micro_batches[at]

    def _sample(self, samples: Sequence[Sample]) -> list[MicroBatch]:
        """Sample one rollout, score it, and divide it into forward passes."""
        step, seed, algorithm = self.state.global_step // self.steps_per_rollout, self.args.seed, self.algorithm
        growing = (self._sampling.agent, self._sampling.scorer, algorithm, self.exploration)
        with counting() as counts:
            self._renew(step)
            groups = event_loop.run(sample_groups, samples, self.task.samples, *growing, seed, step, self._instructed)
        self.rollout = TrainerRollout(step + 1, groups)
        self.exploration = exploration_update(groups.sampled, self.exploration)
        self.spent = self.spent.after(groups.sampled)
        if self.population is not None:
            self.population = self.population.after(groups.sampled, step + 1)
            self._keep_metrics(self.population.metrics(groups.sampled, step + 1))
        metrics = rollout_metrics(
            groups.sampled, algorithm.exploration().entropy_window, list(self._sampling.agent.tools)
        )
        self._keep_metrics(metrics | groups.metrics() | self.spent.metrics() | taken(counts))
        batch = flat_batch(groups.kept, algorithm, self._tokenizer.pad_token_id, self.max_completion_length)
        passes, rng = self.args.gradient_accumulation_steps, random.Random(f"minibatches {seed} {step}")
        steps = self.args.steps_per_generation // passes
        return divide(batch, steps, passes, self.num_iterations, rng, self._loss.reference)

    def _renew(self, step: int) -> None:
        """Renew the instructions if it is time."""
        if self._renewal is None or self.population is None or not self.population.due(step):
            return
        found = event_loop.run(self._renewal.renew, self.population, step)
        self.population = found.population
        self.spent = self.spent.after(found.groups, found.counts["writer_tokens"])
        for line in found.told(step):
            _log.warning(line)
        self._keep_metrics(found.metrics())

    def _instructed(self, samples: Sequence[Sample], step: int | str) -> Sequence[Sample]:
        return samples if self.population is None else self.population.instructed(samples, self.args.seed, step)

    def _keep_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Keep metrics for TRL's next log, without histograms, which it does not support."""
        for name, value in metrics.items():
            if not isinstance(value, dict):
                self._metrics["train"][name].append(value)

    def _compute_loss(self, model: torch.nn.Module, inputs: MicroBatch) -> Tensor:
        """The algorithm's loss; the losses of an optimizer step add up to its mean.

        Raises:
            NonFiniteLoss: The loss is not finite; the step was not taken.
        """
        loss = self._loss.of(inputs, self.algorithm, self.model.device)
        if loss is None:
            # The gradient is 0, but the optimizer's momentum must still move the weights.
            return torch.stack([(p * 0).sum() for p in self.model.parameters() if p.requires_grad]).sum()
        return loss

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Make TRL's step; after the last forward pass of an optimizer step, check the gradient and log the figures.

        Raises:
            NonFiniteLoss: The gradient is not finite; the step was not taken.
        """
        loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
        if self.accelerator.sync_gradients:
            norm = torch.nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
            if not bool(torch.isfinite(norm)):
                raise NonFiniteLoss("the gradient is not finite; lower the learning rate")
            self._keep_metrics(self._loss.metrics(float(norm)))
        return loss

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Pass@1, Pass@`num_generations_eval`, greedy success, tool calls and tokens, as `eval_success` and so on.

        The arguments are TRL's; `ignore_keys` is not used.

        Raises:
            ValueError: There are no questions.
        """
        rows = self.eval_dataset if eval_dataset is None else eval_dataset
        if rows is None or len(rows) == 0:
            raise ValueError(f"no question of task {self.task.name!r} to evaluate with: give eval_dataset")
        by_id = {sample.id: sample for sample in self.task.held_out or self.task.samples}
        asked = [by_id[one] for one in given.data_set("eval_dataset", rows, list(by_id.values()))["id"]]
        with counting() as counts:
            self.evaluation = self._evaluated(asked, self._best, self._sampling.greedy)
        found = self.evaluation.metrics() | taken(counts)
        if self.population is not None and (own := self.population.members[0].text) != self._best:
            found["instruction/own_success"] = self._evaluated(asked, own, None).passes(1).mean
        metrics = {f"{metric_key_prefix}_{name.removeprefix('eval/')}": value for name, value in found.items()}
        # TRL uses the mode to choose which metrics it logs.
        self.model.eval()
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    @property
    def _best(self) -> str:
        """The instruction that evaluations and checkpoints have."""
        return self.policy.instruction if self.population is None else self.population.best.text

    def _evaluated(self, asked: Sequence[Sample], instruction: str, greedy: Agent | None) -> Evaluation:
        samples = [replace(sample, instruction=instruction) for sample in asked]
        agent, scorer = self._sampling.agent, self._sampling.scorer
        return event_loop.run(evaluate, samples, scorer, agent, greedy, self.num_generations_eval, self.args.seed)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        write_instruction(output_dir or self.args.output_dir, self._best)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        state = {"format": STATE_FORMAT, "exploration": self.exploration.to_dict(), "spent": self.spent.to_dict()}
        if self.population is not None:
            state["instructions"] = self.population.to_dict()
        (Path(output_dir) / STATE_FILE).write_text(json.dumps(state) + "\n", encoding="utf-8")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        if self.state.global_step % self.steps_per_rollout:
            raise ValueError(
                f"cannot go on from {checkpoint}: it was saved amid a rollout, whose {self.steps_per_rollout} "
                "optimizer steps belong together"
            )
        try:
            state = json.loads((Path(checkpoint) / STATE_FILE).read_text(encoding="utf-8"))
        except OSError as error:
            raise ValueError(f"cannot go on from {checkpoint}: {STATE_FILE}: {error.strerror}") from error
        if (found := state["format"]) != STATE_FORMAT:
            raise ValueError(f"{checkpoint}: {STATE_FILE} has format {found!r}, this version reads {STATE_FORMAT}")
        self.exploration, self.spent = ExplorationState.from_dict(state["exploration"]), Spent.from_dict(state["spent"])
        if self.population is not None:
            if "instructions" not in state:
                raise ValueError(f"{checkpoint} was saved without instructions: leave them out, or begin a new run")
            self.population = self.population.restored(state["instructions"])


def _given_in_the_rollout(completions: list[Any], **columns: Any) -> list[float]:
    """TRL's trainer requires a reward function, but only calls it in methods that are replaced here."""
    raise AssertionError("rewards are given where trajectories end")
