"""Maps our configuration to verl's: each key is translated, read by our code in verl's processes, or refused."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from aepo.config import Config, ConfigError, EntropyControlConfig, TrustConfig, flat
from aepo.config.sections import VllmConfig
from aepo.engines.verl.mapping import NAME, mapping

SOURCES = ("replica", "endpoint", "logprob")
"""Sources of the explorer's entropies, the best first (`aepo.engines.verl.sources`)."""
AUTO = "auto"

FREE: dict[str, Any] = {
    "trainer.nnodes": 1,
    "trainer.n_gpus_per_node": 1,
    "actor_rollout_ref.actor.strategy": "fsdp2",
    "actor_rollout_ref.rollout.name": "vllm",
    "actor_rollout_ref.rollout.tensor_model_parallel_size": 1,
    "reward.num_workers": 1,
}
"""Our defaults for keys that the `verl:` section does not set."""

FORBIDDEN = {
    "trainer.use_v1": (True, "only verl's V1 trainer is supported"),
    "trainer.v1.trainer_mode": (NAME, "entropies reach the advantage in our own trainer only"),
    "algorithm.rollout_correction.bypass_mode": (False, "without the pass that it skips there is no entropy"),
    "algorithm.use_kl_in_reward": (False, "use algorithm.kl_weight, which adds it to the loss"),
    "model_engine": ("dp", "only FSDP was tried"),
    "critic.enable": (False, "no algorithm here has a critic"),
}
"""Keys of the `verl:` section that must have one value, with the reason."""

OURS = {
    "engine": "chooses this mapping",
    "verl": "given to verl as it is, but for verl.entropy_source: where entropies come from while trees grow",
    "model.price.prompt": "evaluations on data sets count costs",
    "model.price.sampled": "evaluations on data sets count costs",
    "model.pad_token": "verl packs rows, nothing is padded with it",
    "task.": "the task is loaded by its name beside every agent loop",
    "algorithm.": "the rollout, the advantage and the loss run our code",
    "rollout.protocol": "the agent loop's chat protocol",
    "rollout.date": "the agent loop's chat protocol",
    "rollout.template": "the agent loop's chat protocol; a file must be there on every node",
    "rollout.max_tool_calls": "the agent loop's limit",
    "rollout.max_seconds": "the agent loop's limit",
    "rollout.on_format_error": "a broken turn that the model is told of has mask 0 in verl's rows",
    "rollout.max_opening_tokens": "worlds are opened beside the agent loops",
    "rollout.keep_states": "worlds are played beside the agent loops",
    "rollout.on_tool_bug": "a group that fails stops the run, with its trajectory kept",
    "rewards.": "rewards are asked beside the agent loops, so many at once in each",
    "tools.": "tools run beside the agent loops; limits of a service are divided among them",
    "instructions.": "our trainer draws them with the questions; the first agent loop renews them",
    "train.max_trajectories": "trainer.total_training_steps ends there",
    "train.layout": "whole trajectories are trained: the same result, to rounding",
    "train.trees_every": "our trainer keeps the trees",
    "train.trackers": "our trainer logs to the run folder",
    "train.entropy_band": "our trainer watches it",
    "evaluation.questions": "the held-out data",
    "evaluation.greedy": "asked once more, at temperature 0",
}
"""Keys that our code in verl's processes reads; a key that ends with a dot is a section."""

REFUSED: dict[str, tuple[Any, str]] = {
    "model.device": ("auto", "verl places the model"),
    "model.name": (None, "it is of a server, which cannot be trained"),
    "model.tokenizer": (None, "it is of a server, which cannot be trained"),
    "model.timeout": (600.0, "it is of a server, which cannot be trained"),
    "model.lora": (None, "verl hands adapters to its servers in ways that were not tried here: train all weights"),
    "rollout.deterministic": (False, "servers batch as requests come"),
    "rollout.overlap": (0, "verl's asynchronous trainers are not supported yet"),
    "train.max_sampled_tokens": (None, "use train.steps or train.max_trajectories"),
    "train.max_executed_calls": (None, "use train.steps or train.max_trajectories"),
    "train.old_logprobs": ("rollout", "verl always computes them again"),
    "train.correction": ("none", "verl has its own: verl.algorithm.rollout_correction.rollout_is and its threshold"),
    "train.correction_level": ("token", "it belongs to train.correction"),
    "train.correction_cap": (2.0, "it belongs to train.correction"),
    "train.correction_floor": (None, "it belongs to train.correction"),
    "train.optimizer": ("adamw", "verl has its own optimizers: actor_rollout_ref.actor.optim"),
    "train.schedule": ("constant", "verl's FSDP engine has no linear schedule"),
    "train.threads": (None, "it is a setting of the engine local"),
    "train.keep_optimizer": (None, "verl keeps its checkpoints whole: use train.keep_checkpoints"),
}
"""Our keys that must have one value with verl, with the reason."""
REFUSED |= {
    f"train.{key}": (value, "our trainer does it")
    for key, value in flat(
        {"trust": TrustConfig().model_dump(), "entropy_control": EntropyControlConfig().model_dump()}
    ).items()
}
REFUSED |= {
    key: (value, "it is a setting of the engine vllm")
    for key, value in flat({"vllm": VllmConfig().model_dump()}).items()
}


def overrides(config: Config, longest_prompt: int, resume: bool = False) -> dict[str, Any]:
    """The settings of a run by verl's dotted keys.

    Args:
        config: The run's configuration.
        longest_prompt: The number of tokens of the task's longest prompt.
        resume: Go on from the newest checkpoint.

    Raises:
        ConfigError: verl does not support a setting; the message names it.
    """
    source_of(config)
    given = flat({key: value for key, value in config.verl.items() if key != "entropy_source"})
    free = {**FREE, "actor_rollout_ref.rollout.agent.num_workers": given.get("trainer.nnodes", 1)}
    free |= {key: given[key] for key in free.keys() & given.keys()}
    _refuse(config, free)
    mapped = {target: value for of_key in mapping(config, longest_prompt).values() for target, value in of_key.items()}
    mapped |= {key: value for key, (value, _) in FORBIDDEN.items() if "." in key and key != "critic.enable"}
    mapped |= {"trainer.resume_mode": "auto" if resume else "disable", "trainer.logger": ["console"]}
    for written, value in given.items():
        key = written.removeprefix("+")
        if key in FORBIDDEN and FORBIDDEN[key][0] != value:
            raise ConfigError(f"verl.{key} cannot be {value!r}: {FORBIDDEN[key][1]}")
        if key in mapped and mapped[key] != value:
            raise ConfigError(f"verl.{key} is {value!r}, but the configuration makes it {mapped[key]!r}: leave it out")
    return {**free, **given, **mapped}


def source_of(config: Config) -> str:
    """The configured entropy source: one of `SOURCES`, or "auto".

    Raises:
        ConfigError: The setting is none of these.
    """
    asked = str(config.verl.get("entropy_source", AUTO))
    if asked not in (AUTO, *SOURCES):
        raise ConfigError(f"verl.entropy_source is {asked!r}: give {', '.join((AUTO, *SOURCES))}")
    return asked


def _refuse(config: Config, free: Mapping[str, Any]) -> None:
    plain = {**flat(config.model_dump(mode="json")), "model.lora": config.model.lora}
    for key, (only, why) in REFUSED.items():
        if plain[key] != only:
            raise ConfigError(f"engine verl cannot have {key} {plain[key]!r}: {why}; set it to {only!r}")
    rollout, train, algorithm = config.rollout, config.train, config.algorithm
    if algorithm.exploration().entropy_scale == "reference":
        raise ConfigError("engine verl cannot have algorithm.entropy_scale 'reference': its servers do not record it")
    if rollout.questions % train.minibatches:
        raise ConfigError(
            f"engine verl divides a step evenly: rollout.questions is {rollout.questions}, "
            f"train.minibatches {train.minibatches}"
        )
    ranks = free["trainer.nnodes"] * free["trainer.n_gpus_per_node"]
    rows = rollout.questions // train.minibatches * algorithm.group_size
    if rows % ranks:
        raise ConfigError(
            f"algorithm.group_size {algorithm.group_size}: an optimizer step has {rows} trajectories, which "
            f"{ranks} GPUs cannot share evenly; change algorithm.group_size, rollout.questions or train.minibatches"
        )
    workers, tools = free["actor_rollout_ref.rollout.agent.num_workers"], config.tools
    alone = {
        "tools.budget": tools.budget != type(tools.budget)(),
        f"tools.mode {tools.mode}": tools.mode in ("record", "replay"),
    }
    for key, used in alone.items():
        if used and workers > 1:
            raise ConfigError(
                f"{key} is kept by one process, and tools run in {workers}: set "
                f"verl.actor_rollout_ref.rollout.agent.num_workers to 1, or do without"
            )


def unknown(key: str, known: list[str]) -> ConfigError:
    """The error for a key of the `verl:` section that verl does not have."""
    near = difflib.get_close_matches(key, known, 1, 0.5)
    hint = f"did you mean {near[0]!r}?" if near else "write +key to add one"
    return ConfigError(f"verl has no key {key!r}: {hint}")


def explained(config: Config, longest_prompt: int) -> str:
    """The mapping as text, one line per key of ours, with verl's key or its reader.

    Raises:
        ConfigError: As in `overrides`.
    """
    settings = overrides(config, longest_prompt)
    lines = ["engine verl: what the configuration becomes"]
    for key, targets in mapping(config, longest_prompt).items():
        lines += [f"  {key:28} -> {target} = {value!r}" for target, value in targets.items()]
    lines += [f"  {key:28}    {who}" for key, who in OURS.items()]
    told = {target for targets in mapping(config, longest_prompt).values() for target in targets}
    lines += [f"  {'(verl)':28} -> {key} = {value!r}" for key, value in settings.items() if key not in told]
    return "\n".join(lines)
