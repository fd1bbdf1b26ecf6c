"""The arguments of TRL's trainer: which of them cannot be honoured, and what a `Config` becomes."""

from __future__ import annotations

import warnings
from dataclasses import fields
from pathlib import Path

from trl import GRPOConfig

from aepo.algorithms.base import Algorithm
from aepo.config import Config
from aepo.engines.trl.keys import groups_a_pass

LOSS = "the loss is that of the algorithm, with settings of its own"
SAMPLING = "entropies and old log-probabilities are those of the whole distribution at `temperature`"
GENERATION = "paths grow, branch and stop by our own engine"
ADVANTAGE = "the advantage is that of the algorithm, and the reward that of the task"
REPLACED = {
    "beta": "the KL term is the algorithm's kl_weight",
    "sync_ref_model": "the KL term is measured against the model that training started from",
    "loss_type": LOSS,
    "epsilon": "the clip range is the algorithm's clip_low and clip_high",
    "epsilon_high": "the clip range is the algorithm's clip_low and clip_high",
    "delta": "it is the algorithm's dual_clip",
    "importance_sampling_level": LOSS,
    "top_entropy_quantile": LOSS,
    "entropy_coef": LOSS,
    "use_adaptive_entropy": LOSS,
    "off_policy_mask_threshold": LOSS,
    "mask_truncated_completions": LOSS,
    "router_aux_loss_coef": LOSS,
    "cast_lm_head_to_fp32": LOSS,
    "scale_rewards": ADVANTAGE,
    "reward_weights": ADVANTAGE,
    "multi_objective_aggregation": ADVANTAGE,
    "top_p": SAMPLING,
    "top_k": SAMPLING,
    "min_p": SAMPLING,
    "repetition_penalty": SAMPLING,
    "generation_kwargs": GENERATION,
    "cache_implementation": GENERATION,
    "use_transformers_continuous_batching": GENERATION,
    "use_vllm": f"{GENERATION}, which reads entropies that TRL's vLLM does not give: engine: verl samples with vLLM",
    "chat_template_kwargs": "prompts are those of `protocol`",
    "max_tool_calling_iterations": "it is max_tool_calls",
    "log_completions": "`metrics` and the trees of `rollout` say what was sampled",
    "pad_to_multiple_of": "a forward pass is as long as its trajectories",
    "remove_unused_columns": "questions are known by their column 'id'",
    "use_liger_kernel": "it replaces the model's forward, which the rollout and the loss call in parts",
    "neftune_noise_alpha": "the policy that is trained must be the one that sampled",
    "label_smoothing_factor": LOSS,
    "fp16": "gradients are not scaled: load the model in bfloat16 instead",
    "torch_compile": "it was not tested",
    "deepspeed": "it was not tested",
    "fsdp": "it was not tested: engine: verl trains on several GPUs",
}
"""Arguments that have to stay at their defaults, and why."""


def check(args: GRPOConfig, algorithm: Algorithm) -> None:
    """Check that `AEPOTrainer` honours all that the arguments ask for.

    Raises:
        ValueError: It does not; says which one and why.
    """
    # The default is written "group" once the arguments are made.
    defaults = {field.name: field.default for field in fields(GRPOConfig)} | {"fsdp": None, "pad_to_multiple_of": None}
    for name, why in REPLACED.items():
        if (value := getattr(args, name)) != defaults[name] and not (value in (None, False, [], "") and name == "fsdp"):
            raise ValueError(f"GRPOConfig.{name} is {value!r}, which AEPOTrainer cannot honour: {why}; leave it out")
    if args.bf16:
        raise ValueError(
            "GRPOConfig.bf16 is on, also if it is left out: autocast would train another policy than the one that "
            "sampled; set bf16=False, and for half precision model_init_kwargs={'dtype': 'bfloat16'}"
        )
    if args.world_size > 1:
        raise ValueError(
            f"AEPOTrainer trains in one process, not in {args.world_size}: engine: verl trains on several GPUs"
        )
    size = algorithm.group_size
    if args.num_generations != size:
        raise ValueError(
            f"GRPOConfig.num_generations is {args.num_generations}, algorithm.group_size {size}: they differ"
        )
    if args.per_device_train_batch_size % size:
        raise ValueError(
            f"GRPOConfig.per_device_train_batch_size is {args.per_device_train_batch_size}: a forward pass takes whole "
            f"groups, give it a multiple of num_generations = {size}"
        )
    if args.steps_per_generation % args.gradient_accumulation_steps:
        raise ValueError(
            f"GRPOConfig.steps_per_generation is {args.steps_per_generation}: a rollout is divided into whole "
            f"optimizer steps, give it a multiple of gradient_accumulation_steps = {args.gradient_accumulation_steps}"
        )
    every = optimizer_steps(args)
    for name, wanted in (("save_steps", args.save_strategy == "steps"), ("max_steps", args.max_steps > 0)):
        value = getattr(args, name)
        if wanted and (value != int(value) or value % every):
            raise ValueError(
                f"GRPOConfig.{name} is {value}, amid a rollout: give it a multiple of {every}, the optimizer steps "
                "that a rollout is trained in"
            )


def optimizer_steps(args: GRPOConfig) -> int:
    """Optimizer steps that one rollout is trained in."""
    return int(args.steps_per_generation * args.num_iterations // args.gradient_accumulation_steps)


def from_config(config: Config, folder: Path, longest: int, device: str, evaluates: bool) -> GRPOConfig:
    """What a run's configuration is for TRL; `KEYS` says which key becomes what.

    Args:
        config: The run's, not refused.
        folder: Of TRL's checkpoints.
        longest: Tokens that a trajectory may have, its prompt included.
        device: Type of the model's.
        evaluates: Whether there are held-out questions.

    Raises:
        ConfigError: A forward pass has no room for a group.
    """
    rollout, train, evaluation = config.rollout, config.train, config.evaluation
    size = config.algorithm.group_size
    together = groups_a_pass(config, longest)
    passes = rollout.questions // train.minibatches // together
    every = train.minibatches * train.epochs
    with warnings.catch_warnings():
        # transformers warns of a name that TRL itself still uses.
        warnings.filterwarnings("ignore", "`gradient_checkpointing` is deprecated", FutureWarning)
        return GRPOConfig(
            output_dir=str(folder),
            seed=config.seed,
            use_cpu=device == "cpu",
            bf16=False,
            gradient_checkpointing=config.model.gradient_checkpointing,
            num_generations=size,
            max_completion_length=rollout.max_tokens,
            temperature=rollout.temperature,
            per_device_train_batch_size=together * size,
            gradient_accumulation_steps=passes,
            steps_per_generation=train.minibatches * passes,
            num_iterations=train.epochs,
            max_steps=train.steps * every,
            learning_rate=train.learning_rate,
            weight_decay=train.weight_decay,
            max_grad_norm=train.max_grad_norm,
            shuffle_dataset=False,
            num_generations_eval=evaluation.samples,
            per_device_eval_batch_size=evaluation.samples,
            eval_strategy="steps" if evaluation.every and evaluates else "no",
            eval_steps=evaluation.every * every or None,
            save_strategy="steps",
            save_steps=train.checkpoint_every * every,
            save_total_limit=train.keep_checkpoints,
            logging_steps=every,
            report_to="none",
            disable_tqdm=True,
        )
