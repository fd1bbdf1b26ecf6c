"""Translates our keys to verl's own."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any

from aepo.config import Config
from aepo.training.budget import steps_at_most

NAME = "aepo-rl"
"""The name of our loss, advantage and trainer in verl's registries."""


def mapping(config: Config, longest_prompt: int) -> dict[str, dict[str, Any]]:
    """Our keys that verl reads, each with verl's keys and values."""
    algorithm, rollout, train, evaluation = config.algorithm, config.rollout, config.train, config.evaluation
    actor, server, model = "actor_rollout_ref.actor.", "actor_rollout_ref.rollout.", "actor_rollout_ref.model."
    steps = steps_at_most(train, rollout.questions * algorithm.group_size)
    most = max(train.micro_batch_tokens, longest_prompt + rollout.max_tokens)
    number = {"auto": "bfloat16"}.get(config.model.dtype, config.model.dtype)
    short = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}[number]
    return {
        "run": {
            "trainer.default_local_dir": str(Path(config.run).absolute() / "checkpoints"),
            "trainer.project_name": "aepo-rl",
            "trainer.experiment_name": Path(config.run).name,
        },
        "seed": {"data.seed": config.seed, server + "seed": config.seed, actor + "data_loader_seed": config.seed},
        "model.path": {model + "path": config.model.path},
        "model.dtype": {
            server + "dtype": number,
            f"+{actor}fsdp_config.mixed_precision.param_dtype": short,
            f"+{actor}fsdp_config.mixed_precision.reduce_dtype": "fp32",
            f"+{actor}fsdp_config.mixed_precision.buffer_dtype": "fp32",
        },
        "model.gradient_checkpointing": {model + "enable_gradient_checkpointing": config.model.gradient_checkpointing},
        "task.name": {
            "data.custom_cls.path": "pkg://aepo.engines.verl.questions",
            "data.custom_cls.name": "Questions",
            "data.train_files": "samples",
            "data.val_files": "held_out",
            "data.shuffle": False,
            "data.dataloader_num_workers": 0,
            "data.max_prompt_length": longest_prompt,
        },
        "algorithm.name": {
            "algorithm.adv_estimator": NAME,
            actor + "policy_loss.loss_mode": NAME,
            actor + "entropy_coeff": 0,
            "algorithm.filter_groups.enable": algorithm.rounds > 1,
            "algorithm.filter_groups.metric": "reward",
        },
        "algorithm.group_size": {server + "n": algorithm.group_size},
        "algorithm.aggregation": {actor + "loss_agg_mode": algorithm.aggregation},
        "algorithm.kl_weight": {
            actor + "use_kl_loss": algorithm.kl_weight > 0,
            actor + "kl_loss_coef": algorithm.kl_weight,
            actor + "kl_loss_type": "low_var_kl",
        },
        "rollout.questions": {"data.train_batch_size": rollout.questions},
        "rollout.temperature": {
            server + "temperature": rollout.temperature,
            server + "top_p": 1,
            server + "top_k": -1,
            server + "calculate_log_probs": True,
            server + "val_kwargs.temperature": rollout.temperature,
            server + "val_kwargs.do_sample": True,
        },
        "rollout.max_tokens": {"data.max_response_length": rollout.max_tokens},
        "rollout.max_sequences": {server + "max_num_seqs": rollout.max_sequences},
        "train.steps": {"trainer.total_training_steps": steps, "trainer.total_epochs": max(1, steps)},
        "train.minibatches": {actor + "ppo_mini_batch_size": rollout.questions // train.minibatches},
        "train.epochs": {actor + "ppo_epochs": train.epochs},
        "train.learning_rate": {actor + "optim.lr": train.learning_rate},
        # verl steps its schedule once per training step, we once per optimizer step.
        "train.warmup": {actor + "optim.lr_warmup_steps": ceil(train.warmup / (train.minibatches * train.epochs))},
        "train.weight_decay": {actor + "optim.weight_decay": train.weight_decay},
        "train.max_grad_norm": {
            actor + "grad_clip": train.max_grad_norm,
            actor + "optim.clip_grad": train.max_grad_norm,
        },
        "train.micro_batch_tokens": {
            actor + "use_dynamic_bsz": True,
            actor + "ppo_max_token_len_per_gpu": most,
            server + "log_prob_max_token_len_per_gpu": most,
        },
        "train.checkpoint_every": {"trainer.save_freq": train.checkpoint_every},
        "train.keep_checkpoints": {"trainer.max_actor_ckpt_to_keep": train.keep_checkpoints},
        "evaluation.every": {"trainer.test_freq": evaluation.every or max(1, steps)},
        "evaluation.samples": {server + "val_kwargs.n": evaluation.samples},
        "rollout.agent": {
            server + "agent.default_agent_loop": NAME,
            "+" + server + "agent.agent_loop_manager_class": "aepo.engines.verl.agent.Manager",
        },
    }
