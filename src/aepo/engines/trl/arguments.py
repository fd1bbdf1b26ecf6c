"""Checks the arguments, model and questions of TRL's trainer, and refuses those that have no effect here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from trl import GRPOConfig

from aepo.algorithms.base import Algorithm
from aepo.engines.local.adapters import find_adapter
from aepo.equipment.models import policy_folder
from aepo.types import Sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_REASONS = {
    "the KL term is the algorithm's kl_weight": "beta",
    "the KL term is measured against the model that training started from": "sync_ref_model",
    "the clip range is the algorithm's clip_low and clip_high": "epsilon epsilon_high",
    "it is the algorithm's dual_clip": "delta",
    "the loss is that of the algorithm, with settings of its own": "loss_type importance_sampling_level "
    "top_entropy_quantile entropy_coef use_adaptive_entropy off_policy_mask_threshold mask_truncated_completions "
    "router_aux_loss_coef cast_lm_head_to_fp32 label_smoothing_factor",
    "the advantage is that of the algorithm, and the reward that of the task": "scale_rewards reward_weights "
    "multi_objective_aggregation",
    "entropies and old log-probabilities are those of the whole distribution at `temperature`": "top_p top_k min_p "
    "repetition_penalty",
    "paths grow, branch and stop by our own engine": "generation_kwargs cache_implementation "
    "use_transformers_continuous_batching",
    "our own engine samples, since TRL's vLLM gives no entropies: engine: verl samples with vLLM": "use_vllm",
    "it is max_tool_calls": "max_tool_calling_iterations",
    "metrics and the trees of `rollout` say what was sampled": "log_completions",
    "a forward pass is as long as its trajectories": "pad_to_multiple_of",
    "questions are known by their column 'id'": "remove_unused_columns",
    "it replaces the model's forward, which the rollout and the loss call in parts": "use_liger_kernel",
    "the policy that is trained must be the one that sampled": "neftune_noise_alpha",
    "gradients are not scaled: load the model in bfloat16 instead": "fp16",
    "it was not tested": "torch_compile deepspeed",
    "it was not tested: engine: verl trains on several GPUs": "fsdp",
}
REPLACED = {name: why for why, names in _REASONS.items() for name in names.split()}
"""Arguments that must stay at their defaults, with the reason."""


def check(args: GRPOConfig, algorithm: Algorithm) -> None:
    """Check that `AEPOTrainer` supports the arguments.

    Raises:
        ValueError: It does not support one; the message says which and why.
    """
    # TRL itself changes some defaults when it makes the arguments.
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
    size, passes, every = algorithm.group_size, args.gradient_accumulation_steps, optimizer_steps(args)
    if args.num_generations != size:
        raise ValueError(
            f"GRPOConfig.num_generations is {args.num_generations}, algorithm.group_size {size}: they differ"
        )
    multiples = [
        ("per_device_train_batch_size", size, "num_generations", ": a forward pass takes whole groups"),
        ("steps_per_generation", passes, "gradient_accumulation_steps", ": an optimizer step would be cut"),
    ]
    if args.save_strategy == "steps":
        multiples.append(("save_steps", every, "its optimizer steps", ", amid a rollout"))
    if args.max_steps > 0:
        multiples.append(("max_steps", every, "its optimizer steps", ", amid a rollout"))
    for name, unit, meaning, why in multiples:
        if (value := getattr(args, name)) % unit:
            raise ValueError(f"GRPOConfig.{name} is {value}{why}; give it a multiple of {unit} ({meaning})")


def optimizer_steps(args: GRPOConfig) -> int:
    """The number of optimizer steps per rollout."""
    return int(args.steps_per_generation * args.num_iterations // args.gradient_accumulation_steps)


def whole_model(path: str) -> str:
    """The folder of the model for TRL, which would load an adapter frozen.

    Raises:
        ValueError: The path is an adapter.
    """
    folder = policy_folder(path)
    if (adapter := find_adapter(folder)) is not None:
        raise ValueError(
            f"{path} is an adapter: give peft.PeftModel.from_pretrained(model, {adapter.path!r}, is_trainable=True), "
            f"with {adapter.base} as model, to train it on; or its merge_and_unload(), to train all weights"
        )
    return folder


def check_model(model: PreTrainedModel) -> None:
    """Check that there are trainable weights, and that training mode computes the same as sampling.

    Raises:
        ValueError: All weights are frozen, or the model has dropout.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("no weight of the model can be trained: load its adapter with is_trainable=True")
    inside = any(isinstance(module, torch.nn.Dropout) and module.p > 0 for module in model.modules())
    attention = getattr(model.config.get_text_config(), "attention_dropout", 0.0) or 0.0
    if inside or attention > 0:
        raise ValueError(
            "the model has dropout, which would train another policy than the one that sampled: set "
            "GRPOConfig.disable_dropout=True" + (", and attention_dropout of its config to 0" if attention else "")
        )


def question_dataset(samples: Sequence[Sample]) -> Dataset:
    """One row per question: `prompt` for TRL, and the question's `id`."""
    return Dataset.from_dict({"prompt": [s.question for s in samples], "id": [s.id for s in samples]})


def data_set(name: str, rows: Any, samples: Sequence[Sample], least: int = 0) -> Dataset:
    """Check that a data set has at least `least` rows, all of them questions of the task; by default all questions.

    Raises:
        ValueError: It does not; the message says why.
    """
    if rows is None:
        rows = question_dataset(samples)
    if not isinstance(rows, Dataset) or "id" not in rows.column_names:
        raise ValueError(f"{name} has no column 'id': make it with aepo.engines.trl.question_dataset(samples)")
    known = {sample.id for sample in samples}
    for number, one in enumerate(rows["id"]):
        if one not in known:
            raise ValueError(f"{name}: the task has no question with the id {one!r} of row {number}")
    if len(rows) < least:
        raise ValueError(f"{name} has {len(rows)} questions, and a rollout takes {least}")
    return rows
