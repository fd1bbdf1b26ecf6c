"""The settings of a run: frozen models with tested defaults; unknown keys are errors."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from aepo.algorithms import AEPO
from aepo.config.chosen import ChosenAlgorithm
from aepo.config.control import EntropyControlConfig, TrustConfig
from aepo.config.section import Section
from aepo.config.tools import ToolsConfig


class LoraConfig(Section):
    """Low-rank adapters through peft, instead of training all weights.

    Attributes:
        rank: Rank of the adapters.
        alpha: Scale of the adapters, which is divided by the rank.
        targets: Modules that get an adapter; by default all linear layers.
    """

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32, gt=0)
    targets: str | list[str] = "all-linear"


class PriceConfig(Section):
    """Price of a million tokens, in the currency of the tools' prices; null is 0.

    Attributes:
        prompt: Tokens before a turn; they are read again for each turn.
        sampled: Tokens that the policy writes.
    """

    prompt: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    sampled: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class ModelConfig(Section):
    """The policy.

    Attributes:
        path: Folder or hub name of a transformers causal LM; or a small model of this package, "atlas" or "house"; or
            the address of a server (http://host:port/v1), which can be evaluated but not trained.
        device: "auto" takes a GPU if there is one.
        dtype: "auto" is float32 on a CPU, bfloat16 on a GPU.
        pad_token: The padding token, for tokenizers without one.
        gradient_checkpointing: Recompute activations in the backward pass to save memory.
        lora: Train adapters: new ones, or those of `path`, which must have these settings. Null merges an adapter at
            `path` into the weights and trains all of them.
        name: For a server with several models: the model's name.
        tokenizer: For a server: folder or hub name of the model's tokenizer; null takes the server's name of the model.
        timeout: For a server: seconds for one reply.
        price: Price of tokens, for the cost of a question in evaluations.
    """

    path: str = "atlas"
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    pad_token: str | None = None
    gradient_checkpointing: bool = False
    lora: LoraConfig | None = None
    name: str | None = None
    tokenizer: str | None = None
    timeout: float = Field(default=600.0, gt=0, allow_inf_nan=False)
    price: PriceConfig = PriceConfig()


class TaskConfig(Section):
    """The task.

    Attributes:
        name: A built-in task ("atlas" or "house"), a data set of docs/datasets.md, or "package.module:function" for a
            function that returns an `aepo.Task`.
        options: Arguments of that function.
    """

    name: str = "atlas"
    options: dict[str, Any] = Field(default_factory=dict)


class RolloutConfig(Section):
    """How trajectories are sampled.

    Attributes:
        protocol: "tags", or "chat" for the model's own template and its form of tool calls.
        questions: Questions per step.
        temperature: Temperature of sampling, entropies and log-probabilities.
        max_tokens: Tokens per trajectory after the prompt, observations included.
        max_tool_calls: Tool calls per trajectory; a turn that asks for more than are left ends it, and is not run.
        max_seconds: Seconds per trajectory, tools and sampling together; null is no limit.
        max_opening_tokens: Tokens that the opening of an environment may add to a prompt.
        keep_states: Keep the `state` of an environment after each tool result, for the viewer; else only at the end.
        max_sequences: Trajectories that grow in the engine at once, whatever their questions; the others wait. The
            engine local reserves memory for the longest one for each of them. With `deterministic`, whole groups wait,
            and it is at least `algorithm.group_size`.
        deterministic: Make rounding independent of which tool answers first, at some cost in speed; on a GPU a run asks
            PyTorch for deterministic kernels too.
        overlap: Groups of a step that training does not wait for; they grow on and are trained in the next step. With
            engine vllm on a GPU of its own: questions of the next step that begin while the trainer works.
        on_tool_bug: Whether an exception other than `ToolError` in a tool stops the run, or the model is told.
        on_format_error: Whether a turn that breaks the protocol ends its trajectory, or the model is told and goes on;
            then the turn counts as a call and is not trained.
        date: Today's date for a chat template that asks for it. Null is the day on which the run begins, which its
            `config.yaml` then has, or today if there is no run.
        template: Arguments of the chat template, such as `enable_thinking: false`; a name that it does not read is an
            error. The name `file` is the path of another template, instead of the model's own.
    """

    protocol: Literal["tags", "chat"] = "tags"
    questions: int = Field(default=16, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    max_tokens: int = Field(default=384, ge=1)
    max_tool_calls: int = Field(default=6, ge=0)
    max_seconds: float | None = Field(default=None, gt=0)
    max_opening_tokens: int = Field(default=256, ge=0)
    keep_states: bool = False
    max_sequences: int = Field(default=128, ge=1)
    deterministic: bool = False
    overlap: int = Field(default=0, ge=0)
    on_tool_bug: Literal["stop", "tell"] = "stop"
    on_format_error: Literal["end", "tell"] = "end"
    date: datetime.date | None = None
    template: dict[str, Any] = Field(default_factory=dict)

    @field_validator("template")
    @classmethod
    def _file_is_a_path(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(value.get("file", ""), str):
            raise ValueError("file is the path of a chat template: write file: my_template.jinja")
        return value

    @model_validator(mode="after")
    def _time_is_not_limited_where_it_must_not_count(self) -> RolloutConfig:
        if self.deterministic and self.max_seconds is not None:
            raise ValueError(
                "rollout.max_seconds lets the speed of tools and machines decide what a trajectory is: "
                "set it to null, or rollout.deterministic to false"
            )
        return self


Layout = Literal["tree", "flat"]
"""Compute each distinct token once, or each trajectory whole."""


class EndConfig(Section):
    """When a run ends.

    Attributes:
        steps: Most rollouts to train on.
        max_trajectories: The run ends after the step that reaches this number, over all steps; null is no limit.
        max_sampled_tokens: The same for tokens that the policy wrote; shared ones count once.
        max_executed_calls: The same for tool calls that really ran; shared ones count once.
    """

    steps: int = Field(default=100, ge=0)
    max_trajectories: int | None = None
    max_sampled_tokens: int | None = None
    max_executed_calls: int | None = None


class TrainConfig(EndConfig):
    """When a run ends, the optimizer, and what is kept.

    Attributes:
        minibatches: Optimizer steps that one pass over a rollout is divided into, by question.
        epochs: Passes over a rollout.
        optimizer: "adamw", or "adamw_8bit" with moments of 8 bits by bitsandbytes or torchao, whichever is installed.
        learning_rate: AdamW's learning rate after the warm-up; "auto" takes one for the size of the model, see
            `automatic_rate`.
        warmup: Optimizer steps in which the learning rate rises from 0.
        schedule: After the warm-up "constant" keeps the learning rate; "linear" lowers it to 0 at the last of `steps`,
            which a run that a budget ends does not reach.
        weight_decay: AdamW's weight decay.
        max_grad_norm: Largest norm of the gradient; a larger one is scaled down to it.
        layout: "tree" computes each distinct token once, "flat" each trajectory whole. Results are equal up to
            rounding. Models whose attention cannot be replaced need "flat".
        micro_batch_tokens: Tokens of one forward pass, with padding if flat; changes memory, not results.
        old_logprobs: What the ratios of the loss are measured against: the log-probabilities of the "rollout", or those
            that one more pass of the trainer gives before the first update ("recompute").
        correction: With "recompute": what is done about r, the ratio of those to the rollout's. "truncate" multiplies
            losses by min(r, cap); "mask" by r, or by 0 where it is out of bounds.
        correction_level: Whether r is of each "token", or of the whole trajectory ("sequence").
        correction_cap: The largest r.
        correction_floor: For "mask": the smallest r; null drops none for being small.
        checkpoint_every: Steps between checkpoints; the end of a run always has one.
        keep_checkpoints: Number of checkpoints to keep.
        keep_optimizer: Number of them, the newest, that keep their optimizer; the others keep the policy, and cannot be
            gone on from. Null is all.
        trees_every: Every how many steps the rollout trees are kept.
        threads: CPU threads; null measures the fastest number, and again when the machine's load changes.
        trust: What keeps an update near the policy that sampled.
        entropy_control: What keeps the policy's entropy up.
        entropy_band: Largest relative change of the policy's entropy from its start without an alarm; null gives no
            alarm.
        trackers: Where metrics go besides `metrics.jsonl`; each but "csv" needs the extra of its name.
    """

    minibatches: int = Field(default=4, ge=1)
    epochs: int = Field(default=1, ge=1)
    optimizer: Literal["adamw", "adamw_8bit"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    warmup: int = Field(default=10, ge=0)
    schedule: Literal["constant", "linear"] = "constant"
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    layout: Layout = "tree"
    micro_batch_tokens: int = Field(default=16384, ge=1)
    old_logprobs: Literal["rollout", "recompute"] = "rollout"
    correction: Literal["none", "truncate", "mask"] = "none"
    correction_level: Literal["token", "sequence"] = "token"
    correction_cap: float = Field(default=2.0, ge=1, allow_inf_nan=False)
    correction_floor: float | None = Field(default=None, gt=0, le=1)
    trust: TrustConfig = TrustConfig()
    entropy_control: EntropyControlConfig = EntropyControlConfig()
    checkpoint_every: int = Field(default=25, ge=1)
    keep_checkpoints: int = Field(default=2, ge=1)
    keep_optimizer: int | None = Field(default=None, ge=1)
    trees_every: int = Field(default=10, ge=1)
    threads: int | None = Field(default=None, ge=1)
    entropy_band: float | None = Field(default=0.3, gt=0)
    trackers: list[Literal["tensorboard", "csv", "wandb", "trackio", "mlflow"]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _correction_has_a_meaning(self) -> TrainConfig:
        if self.correction != "none" and self.old_logprobs == "rollout":
            raise ValueError(
                "correction would count the sampler's difference twice: with old_logprobs rollout the loss has the "
                "whole ratio. Set train.old_logprobs: recompute, or train.correction: none"
            )
        if self.correction_floor is not None and self.correction != "mask":
            raise ValueError("correction_floor is for train.correction: mask; set train.correction_floor: null")
        if self.correction == "none" and (self.correction_level, self.correction_cap) != ("token", 2.0):
            raise ValueError(
                "correction_level and correction_cap do nothing without a correction: set train.correction: truncate "
                "or mask, or leave them out"
            )
        return self

    @model_validator(mode="after")
    def _trust_can_act(self) -> TrainConfig:
        if self.trust.rule != "clip" and self.minibatches * self.epochs == 1:
            raise ValueError(
                f"trust.rule {self.trust.rule} does nothing in the first optimizer step of a rollout, and there is "
                f"only one: raise train.minibatches or train.epochs, or set train.trust.rule: clip"
            )
        return self


class EvaluationConfig(Section):
    """Measuring on the task's held-out questions.

    Attributes:
        every: Training steps between evaluations; 0 evaluates only before and after the run.
        questions: Number of held-out questions, from the first; null takes all.
        samples: Sampled trajectories per question, at the temperature of the rollout.
        greedy: Whether each question also gets a greedy trajectory.
    """

    every: int = Field(default=0, ge=0)
    questions: int | None = Field(default=None, ge=1)
    samples: int = Field(default=4, ge=1)
    greedy: bool = True


class RewardsConfig(Section):
    """Scoring of trajectories, each as soon as it has ended.

    Attributes:
        concurrency: Calls of the reward or the judge at once; set 1 if it is not safe in several threads.
    """

    concurrency: int = Field(default=16, ge=1)


class InstructionsConfig(Section):
    """A population of instructions beside the policy, whichever algorithm trains it (docs/instructions.md).

    Attributes:
        enabled: Whether each question is asked under one of the instructions.
        texts: Instructions to begin with, besides the task's own.
        population: Most instructions at once, the task's own included.
        temperature: The temperature of the draw by weight, in units of reward; .inf draws evenly.
        floor: Share that is drawn evenly.
        decay: Weight of the past in an instruction's weight.
        credit: Whether a group's reward is compared with that of its "question" when it was last asked, or with those
            of its "step". A run that asks each question once needs "step".
        every: Steps between renewals.
        min_groups: Groups that must have credited an instruction before it may go, or be the best.
        keep: Share of `population` that survives a renewal; the task's own instruction always does.
        proposals: New instructions that a renewal asks for.
        failures: Failed trajectories that a proposal reads.
        verify_questions: Training questions that try a new instruction, with one trajectory each.
        max_tokens: Most tokens of an instruction.
        writer: Who writes new ones: "policy", or MODEL@http://host:port/v1, or the address alone if the server has one
            model; its key is read from AEPO_WRITER_KEY.
    """

    enabled: bool = False
    texts: list[str] = Field(default_factory=list)
    population: int = Field(default=4, ge=1)
    temperature: float = Field(default=0.1, gt=0)
    floor: float = Field(default=0.1, ge=0, le=1)
    decay: float = Field(default=0.9, ge=0, lt=1)
    credit: Literal["question", "step"] = "question"
    every: int = Field(default=25, ge=1)
    min_groups: int = Field(default=64, ge=1)
    keep: float = Field(default=0.5, gt=0, le=1)
    proposals: int = Field(default=2, ge=0)
    failures: int = Field(default=8, ge=0)
    verify_questions: int = Field(default=16, ge=1)
    max_tokens: int = Field(default=512, ge=1)
    writer: str = "policy"

    @field_validator("writer")
    @classmethod
    def _writer_is_known(cls, value: str) -> str:
        if value != "policy" and "://" not in value:
            raise ValueError("writer is policy, or a server: write MODEL@http://host:port/v1")
        return value

    @model_validator(mode="after")
    def _texts_fit(self) -> InstructionsConfig:
        texts = [text.strip() for text in self.texts]
        if "" in texts:
            raise ValueError("instructions.texts has an empty text: the task's own instruction is there without it")
        if len({*texts}) < len(texts):
            twice = next(text for text in texts if texts.count(text) > 1)
            raise ValueError(f"instructions.texts has {twice[:40]!r} twice: give each text once")
        if len(texts) >= self.population:
            raise ValueError(
                f"instructions.texts has {len(texts)} texts, and beside the task's own there is room for "
                f"{self.population - 1}: raise instructions.population"
            )
        return self


class VllmConfig(Section):
    """For engine vllm: the server that samples, and how it gets the weights.

    Attributes:
        url: A server that you started (docs/how-to/vllm.md); null starts one for the run.
        python: A Python interpreter that has vLLM; null is this one.
        devices: GPUs of the server, as CUDA_VISIBLE_DEVICES has them; null takes the second GPU if there is one, else
            the trainer's.
        gpu_memory_utilization: Share of a GPU that the server takes; null is 0.9 on a GPU of its own, else 0.3.
        enable_sleep_mode: Whether the server gives its memory back while the trainer works; null does so on the
            trainer's GPU.
        tensor_parallel_size: GPUs that hold the model together.
        weight_transfer: How all weights get there: "file" in memory, "ipc" on the trainer's GPU, "nccl" to other GPUs;
            the last two are untested.
        logprobs: Likeliest tokens that entropies are computed from.
        max_difference: Largest mean difference, in nats, of the server's log-probabilities to the trainer's after a
            hand-over; null is 0.001 in float32 and 0.1 in bfloat16.
        start_timeout: Seconds for the server's start.
        options: Other options of `vllm serve`, e.g. {max-num-batched-tokens: 8192}.
    """

    url: str | None = None
    python: str | None = None
    devices: str | None = None
    gpu_memory_utilization: float | None = Field(default=None, gt=0, le=1)
    enable_sleep_mode: bool | None = None
    tensor_parallel_size: int = Field(default=1, ge=1)
    weight_transfer: Literal["file", "ipc", "nccl"] = "file"
    logprobs: int = Field(default=20, ge=1)
    max_difference: float | None = Field(default=None, gt=0)
    start_timeout: float = Field(default=600.0, gt=0)
    options: dict[str, Any] = Field(default_factory=dict)


class Config(Section):
    """A whole run.

    Attributes:
        engine: Where a run samples and trains: "local" is this process; "vllm" samples with a vLLM server of this
            machine and trains in this process (docs/how-to/vllm.md); "verl" is a Ray cluster (docs/cluster.md).
        run: Run folder. `{time}` in its name is the time at which the run begins, so that each run has a folder of its
            own; `latest` beside it is then a link to the newest.
        seed: Seed of all random numbers.
        vllm: For engine vllm: the server.
        verl: For engine verl: verl's own settings by its dotted keys, and `entropy_source` (docs/cluster.md).
    """

    engine: Literal["local", "vllm", "verl"] = "local"
    run: str = "runs/{time}"
    seed: int = 0
    model: ModelConfig = ModelConfig()
    task: TaskConfig = TaskConfig()
    algorithm: ChosenAlgorithm = AEPO()
    rollout: RolloutConfig = RolloutConfig()
    rewards: RewardsConfig = RewardsConfig()
    tools: ToolsConfig = ToolsConfig()
    train: TrainConfig = TrainConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    instructions: InstructionsConfig = InstructionsConfig()
    vllm: VllmConfig = VllmConfig()
    verl: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _refuse_engine_trl(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("engine") == "trl":
            raise ValueError(
                "engine: trl is not there any more: use engine: local to train in this process, "
                "or AEPOTrainer in a script for TRL (docs/trl.md)"
            )
        return data

    @model_validator(mode="after")
    def _settings_of_vllm_are_used(self) -> Config:
        if self.engine == "local":
            for name, field in VllmConfig.model_fields.items():
                if getattr(self.vllm, name) != field.get_default(call_default_factory=True):
                    raise ValueError(f"vllm.{name} is set, but engine is {self.engine}: set engine: vllm")
        return self

    @model_validator(mode="before")
    @classmethod
    def _name_the_algorithm(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("algorithm"), dict):
            return {**data, "algorithm": {"name": "aepo", **data["algorithm"]}}
        return data

    @model_validator(mode="after")
    def _a_group_fits_the_budget(self) -> Config:
        for name in ("max_trajectories", "max_sampled_tokens", "max_executed_calls"):
            limit, group = getattr(self.train, name), self.algorithm.group_size
            if limit is not None and limit < group:
                raise ValueError(
                    f"train.{name} is {limit}, less than one group of {group} trajectories can use: "
                    f"raise it, or lower algorithm.group_size"
                )
        return self

    @model_validator(mode="after")
    def _overlap_is_possible(self) -> Config:
        rollout, algorithm = self.rollout, self.algorithm
        if not rollout.overlap:
            return self
        if rollout.deterministic:
            raise ValueError(
                "rollout.overlap lets the speed of tools decide which step a group is trained in: "
                "set it to 0, or rollout.deterministic to false"
            )
        if rollout.overlap >= rollout.questions:
            raise ValueError(
                f"rollout.overlap is {rollout.overlap} of {rollout.questions} groups: leave at least one to train on"
            )
        if algorithm.rounds > 1:
            raise ValueError(
                f"rollout.overlap cannot be used with {algorithm.name}, which replaces groups of a step by others: "
                f"set it to 0"
            )
        return self
