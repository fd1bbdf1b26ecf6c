"""Maps each of our keys that verl itself reads to verl's own keys."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any

from aepo.config import Config
from aepo.training.budget import steps_at_most

NAME = "aepo-rl"
"""The name under which our loss, advantage and trainer are registered with verl."""

ACTOR, SERVER, MODEL = "actor_rollout_ref.actor.", "actor_rollout_ref.rollout.", "actor_rollout_ref.model."


def mapping(config: Config, longest_prompt: int) -> dict[str, dict[str, Any]]:
    """Each of our keys that verl reads, with its values under verl's keys."""
    return _run(config, longest_prompt) | _rollout(config) | _training(config, longest_prompt)


def _run(config: Config, longest_prompt: int) -> dict[str, dict[str, Any]]:
    number = {"auto": "bfloat16"}.get(config.model.dtype, config.model.dtype)
    short = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}[number]
    return {
        "run": {
            "trainer.default_local_dir": str(Path(config.run).absolute() / "checkpoints"),
            "trainer.project_name": "aepo-rl",
            "trainer.experiment_name": Path(config.run).name,
        },
        "seed": {"data.seed": config.seed, SERVER + "seed": config.seed, ACTOR + "data_loader_seed": config.seed},
        "model.path": {MODEL + "path": config.model.path},
        "model.dtype": {
            SERVER + "dtype": number,
            f"+{ACTOR}fsdp_config.mixed_precision.param_dtype": short,
            f"+{ACTOR}fsdp_config.mixed_precision.reduce_dtype": "fp32",
            f"+{ACTOR}fsdp_config.mixed_precision.buffer_dtype": "fp32",
        },
        "model.gradient_checkpointing": {MODEL + "enable_gradient_checkpointing": config.model.gradient_checkpointing},
        "task.name": {
            "data.custom_cls.path": "pkg://aepo.engines.verl.questions",
            "data.custom_cls.name": "Questions",
            "data.train_files": "samples",
            "data.val_files": "held_out",
            "data.shuffle": False,
            "data.dataloader_num_workers": 0,
            "data.max_prompt_length": longest_prompt,
        },
    }


def _rollout(config: Config) -> dict[str, dict[str, Any]]:
    algorithm, rollout = config.algorithm, config.rollout
    return {
        "algorithm.name": {
            "algorithm.adv_estimator": NAME,
            ACTOR + "policy_loss.loss_mode": NAME,
            ACTOR + "entropy_coeff": 0,
            "algorithm.filter_groups.enable": algorithm.rounds > 1,
            "algorithm.filter_groups.metric": "reward",
        },
        "algorithm.group_size": {SERVER + "n": algorithm.group_size},
        "algorithm.aggregation": {ACTOR + "loss_agg_mode": algorithm.aggregation},
        "algorithm.kl_weight": {
            ACTOR + "use_kl_loss": algorithm.kl_weight > 0,
            ACTOR + "kl_loss_coef": algorithm.kl_weight,
            ACTOR + "kl_loss_type": "low_var_kl",
        },
        "rollout.questions": {"data.train_batch_size": rollout.questions},
        "rollout.temperature": {
            SERVER + "temperature": rollout.temperature,
            SERVER + "top_p": 1,
            SERVER + "top_k": -1,
            SERVER + "calculate_log_probs": True,
            SERVER + "val_kwargs.temperature": rollout.temperature,
            SERVER + "val_kwargs.do_sample": True,
        },
        "rollout.max_tokens": {"data.max_response_length": rollout.max_tokens},
        "rollout.max_sequences": {SERVER + "max_num_seqs": rollout.max_sequences},
    }


def _training(config: Config, longest_prompt: int) -> dict[str, dict[str, Any]]:
    rollout, train, evaluation = config.rollout, config.train, config.evaluation
    steps = steps_at_most(train, rollout.questions * config.algorithm.group_size)
    most = max(train.micro_batch_tokens, longest_prompt + rollout.max_tokens)
    return {
        "train.steps": {"trainer.total_training_steps": steps, "trainer.total_epochs": max(1, steps)},
        "train.minibatches": {ACTOR + "ppo_mini_batch_size": rollout.questions // train.minibatches},
        "train.epochs": {ACTOR + "ppo_epochs": train.epochs},
        "train.learning_rate": {ACTOR + "optim.lr": train.learning_rate},
        # verl's schedule advances once per training step, ours once per optimizer step.
        "train.warmup": {ACTOR + "optim.lr_warmup_steps": ceil(train.warmup / (train.minibatches * train.epochs))},
        "train.weight_decay": {ACTOR + "optim.weight_decay": train.weight_decay},
        "train.max_grad_norm": {
            ACTOR + "grad_clip": train.max_grad_norm,
            ACTOR + "optim.clip_grad": train.max_grad_norm,
        },
        "train.micro_batch_tokens": {
            ACTOR + "use_dynamic_bsz": True,
            ACTOR + "ppo_max_token_len_per_gpu": most,
            SERVER + "log_prob_max_token_len_per_gpu": most,
        },
        "train.checkpoint_every": {"trainer.save_freq": train.checkpoint_every},
        "train.keep_checkpoints": {"trainer.max_actor_ckpt_to_keep": train.keep_checkpoints},
        "evaluation.every": {"trainer.test_freq": evaluation.every or max(1, steps)},
        "evaluation.samples": {SERVER + "val_kwargs.n": evaluation.samples},
        "rollout.agent": {
            SERVER + "agent.default_agent_loop": NAME,
            "+" + SERVER + "agent.agent_loop_manager_class": "aepo.engines.verl.agent.Manager",
        },
    }
