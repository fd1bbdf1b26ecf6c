"""Every key of a configuration under `engine: trl`: what becomes of it, or why it is refused."""

from __future__ import annotations

from aepo.config import Config, ConfigError

OURS = "as under engine: local"
SERVER = "of a server, which no engine trains"
KEYS = {
    "run": "metrics and trees in it, TRL's `output_dir` in its folder `checkpoints`",
    "seed": "`seed`",
    "engine": "trl",
    "model.path": f"{OURS}; a server is refused",
    "model.name": SERVER,
    "model.tokenizer": SERVER,
    "model.timeout": SERVER,
    "model.price.*": "costs of evaluations on data sets only",
    "model.device": "the one that accelerate takes, else refused; `use_cpu` for cpu",
    "model.dtype": f"{OURS}: of the weights, without autocast (`bf16=False`)",
    "model.pad_token": OURS,
    "model.gradient_checkpointing": "`gradient_checkpointing`",
    "model.lora": OURS,
    "task.*": OURS,
    "algorithm.group_size": "`num_generations`",
    "algorithm.*": f"{OURS}: rules of the rollout, advantage, loss, KL term",
    "rollout.protocol": OURS,
    "rollout.questions": "`per_device_train_batch_size`, `gradient_accumulation_steps`, `steps_per_generation`",
    "rollout.temperature": "`temperature`",
    "rollout.max_tokens": "`max_completion_length`",
    "rollout.max_tool_calls": OURS,
    "rollout.max_sequences": OURS,
    "rollout.deterministic": OURS,
    "rollout.overlap": "refused unless 0: TRL's trainer samples and trains in turns",
    "rollout.on_tool_bug": OURS,
    "rollout.date": OURS,
    "rewards.*": OURS,
    "tools.*": OURS,
    "train.steps": "`max_steps`, times the optimizer steps of a rollout; refused if 0",
    "train.max_trajectories": OURS,
    "train.max_sampled_tokens": OURS,
    "train.max_executed_calls": OURS,
    "train.minibatches": "`gradient_accumulation_steps`; refused unless it divides rollout.questions",
    "train.epochs": "`num_iterations`",
    "train.learning_rate": f"{OURS}: the trainer is given our AdamW",
    "train.warmup": f"{OURS}: and our schedule",
    "train.schedule": OURS,
    "train.weight_decay": OURS,
    "train.max_grad_norm": "`max_grad_norm`",
    "train.layout": OURS,
    "train.micro_batch_tokens": "`per_device_train_batch_size`; refused if one group may be larger",
    "train.checkpoint_every": "`save_steps`, times the optimizer steps of a rollout",
    "train.keep_checkpoints": "`save_total_limit`",
    "train.trees_every": OURS,
    "train.threads": OURS,
    "train.entropy_band": OURS,
    "train.trackers": OURS,
    "verl": "of engine: verl only",
    "evaluation.every": "`eval_steps`, times the optimizer steps of a rollout; before and after training in any case",
    "evaluation.questions": OURS,
    "evaluation.samples": "`num_generations_eval`",
    "evaluation.greedy": OURS,
}
"""What each key becomes, an argument of `GRPOConfig` in backquotes; `a.*` is all of a section that has no own line."""


def refuse(config: Config) -> None:
    """Check that a configuration can be honoured, as far as it alone tells.

    Raises:
        ConfigError: A setting cannot; says which and what to do.
    """
    rollout, train = config.rollout, config.train
    if rollout.overlap:
        raise ConfigError(
            f"rollout.overlap is {rollout.overlap}, but under engine: trl a rollout ends before training begins: "
            "set it to 0, or engine to local"
        )
    if train.steps == 0:
        raise ConfigError(
            "train.steps is 0, but TRL's trainer takes at least one: set it to 1 or more, or use aepo eval"
        )
    if rollout.questions % train.minibatches:
        raise ConfigError(
            f"train.minibatches is {train.minibatches}, but under engine: trl every optimizer step takes as many "
            f"questions as the others: {rollout.questions} (rollout.questions) must be a multiple of it"
        )


def groups_a_pass(config: Config, longest: int) -> int:
    """How many whole groups one forward pass takes: as many as `train.micro_batch_tokens` has room for.

    Args:
        config: The run's.
        longest: Tokens that a trajectory may have, its prompt included.

    Raises:
        ConfigError: There is no room for one group.
    """
    group = config.algorithm.group_size * longest
    of_step = config.rollout.questions // config.train.minibatches
    room = config.train.micro_batch_tokens // group
    if room == 0:
        raise ConfigError(
            f"train.micro_batch_tokens is {config.train.micro_batch_tokens}, but under engine: trl a forward pass "
            f"takes a whole group, which may have {group} tokens ({config.algorithm.group_size} x {longest}): set it so"
        )
    return max(number for number in range(1, of_step + 1) if of_step % number == 0 and number <= room)
