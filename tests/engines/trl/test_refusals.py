"""What cannot be honoured is refused by name, before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aepo
from aepo.algorithms import AEPO
from aepo.types import Sample
from tests import tiny

pytest.importorskip("trl", exc_type=ImportError)

from trl import GRPOConfig

from aepo.engines.trl import AEPOTrainer, question_dataset
from aepo.engines.trl.arguments import REPLACED, check

Arguments = Callable[..., Any]
OTHER: dict[str, Any] = {
    "beta": 0.04,
    "sync_ref_model": True,
    "loss_type": "grpo",
    "epsilon": 0.3,
    "epsilon_high": 0.28,
    "delta": 4.0,
    "importance_sampling_level": "sequence",
    "top_entropy_quantile": 0.2,
    "entropy_coef": 0.01,
    "use_adaptive_entropy": True,
    "off_policy_mask_threshold": 0.5,
    "mask_truncated_completions": True,
    "router_aux_loss_coef": 0.1,
    "cast_lm_head_to_fp32": True,
    "scale_rewards": "batch",
    "reward_weights": [2.0],
    "multi_objective_aggregation": "normalize_then_sum",
    "top_p": 0.9,
    "top_k": 50,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "generation_kwargs": {"num_beams": 2},
    "cache_implementation": "static",
    "use_transformers_continuous_batching": True,
    "use_vllm": True,
    "max_tool_calling_iterations": 3,
    "log_completions": True,
    "pad_to_multiple_of": 8,
    "remove_unused_columns": True,
    "use_liger_kernel": True,
    "neftune_noise_alpha": 5.0,
    "label_smoothing_factor": 0.1,
    "torch_compile": True,
}


@pytest.mark.parametrize("name", sorted(OTHER))
def test_an_argument_that_we_replace_has_to_stay_as_it_is(arguments: Arguments, name: str) -> None:
    args = arguments()
    check(args, AEPO(group_size=6))
    # Some need a package, or a device, to be made with.
    setattr(args, name, OTHER[name])
    with pytest.raises(ValueError, match=f"GRPOConfig.{name} is .*, which AEPOTrainer cannot honour: .*leave it out"):
        check(args, AEPO(group_size=6))


def test_every_refused_argument_is_one_of_trls() -> None:
    known = set(GRPOConfig.__dataclass_fields__)
    assert set(REPLACED) <= known
    assert set(REPLACED) - set(OTHER) <= {"fp16", "deepspeed", "fsdp"}


def test_every_argument_that_trl_adds_to_the_trainers_is_decided_about(arguments: Arguments) -> None:
    from transformers import TrainingArguments

    own = set(GRPOConfig.__dataclass_fields__) - set(TrainingArguments.__dataclass_fields__)
    honoured = {
        "model_init_kwargs",
        "trust_remote_code",
        "disable_dropout",
        "num_generations",
        "num_generations_eval",
        "max_completion_length",
        "shuffle_dataset",
        "generation_batch_size",
        "steps_per_generation",
        "temperature",
        "num_iterations",
        "chat_template_kwargs",
    }
    # They say how something is done that is refused itself, or is not there in one process.
    without_effect = {"ds3_gather_for_generation", "use_bias_correction_kl", "use_transformers_paged"}
    without_effect |= {"transformers_continuous_batching_config", "num_completions_to_print", "log_unique_prompts"}
    without_effect |= {"log_multimodal", "log_completions_hub_repo", "ref_model_mixup_alpha", "ref_model_sync_steps"}
    without_effect |= {name for name in own if name.startswith(("vllm_", "sapo_", "vespo_", "entropy_"))}
    assert own == (own & set(REPLACED)) | honoured | (without_effect - set(REPLACED))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"bf16": True}, "GRPOConfig.bf16 is on, also if it is left out"),
        ({"num_generations": 3}, "GRPOConfig.num_generations is 3, algorithm.group_size 6"),
        ({"per_device_train_batch_size": 3, "gradient_accumulation_steps": 4}, "per_device_train_batch_size is 3"),
        ({"steps_per_generation": 3, "gradient_accumulation_steps": 2}, "steps_per_generation is 3"),
        ({"steps_per_generation": 4, "save_strategy": "steps", "save_steps": 3}, "save_steps is 3, amid a rollout"),
        ({"steps_per_generation": 4, "max_steps": 3}, "max_steps is 3, amid a rollout"),
    ],
    ids=[
        "bf16",
        "group size",
        "part of a group",
        "part of an optimizer step",
        "save amid a rollout",
        "end amid a rollout",
    ],
)
def test_sizes_that_do_not_fit(arguments: Arguments, changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        AEPOTrainer("atlas", arguments(**changes), task=tiny.letters(), algorithm=AEPO(group_size=6))


def test_arguments_of_the_chat_template_reach_it(arguments: Arguments, model_folder: Path) -> None:
    args = arguments(chat_template_kwargs={"enable_thinking": False})
    with pytest.raises(ValueError, match="the chat template does not read 'enable_thinking': it reads none"):
        AEPOTrainer(str(model_folder), args, task=tiny.letters(), algorithm=AEPO(group_size=6))


def test_several_processes(arguments: Arguments, monkeypatch: pytest.MonkeyPatch) -> None:
    args = arguments()
    monkeypatch.setattr(type(args), "world_size", property(lambda self: 2))
    with pytest.raises(ValueError, match="one process, not in 2: engine: verl"):
        check(args, AEPO(group_size=6))


def test_a_data_set_that_does_not_ask_the_tasks_questions(arguments: Arguments, model_folder: Path) -> None:
    from datasets import Dataset

    def make(**changes: Any) -> None:
        AEPOTrainer(str(model_folder), arguments(), task=tiny.letters(), algorithm=AEPO(group_size=6), **changes)

    with pytest.raises(ValueError, match="train_dataset has no column 'id': make it with"):
        make(train_dataset=Dataset.from_dict({"prompt": ["what"]}))
    with pytest.raises(ValueError, match="train_dataset: the task has no question with the id 'other' of row 0"):
        make(train_dataset=question_dataset([Sample("what", id="other")]))
    with pytest.raises(ValueError, match="eval_dataset: the task has no question with the id 'q0' of row 0"):
        make(eval_dataset=question_dataset(tiny.samples(1)))
    with pytest.raises(ValueError, match="train_dataset has 1 questions, and a rollout takes 2"):
        make(train_dataset=question_dataset(tiny.samples(1)))


def test_a_task_without_a_reward(arguments: Arguments) -> None:
    with pytest.raises(ValueError, match="task 'none' has no reward"):
        AEPOTrainer("atlas", arguments(), task=aepo.Task("none", tiny.samples(4)), algorithm=AEPO(group_size=6))


def test_dropout_would_train_another_policy(arguments: Arguments, model_folder: Path) -> None:
    policy = aepo.load_policy(str(model_folder))
    policy.model.config.attention_dropout = 0.1
    with pytest.raises(ValueError, match=r"the model has dropout.*attention_dropout of its config to 0"):
        AEPOTrainer(
            policy.model,
            arguments(),
            task=tiny.letters(),
            algorithm=AEPO(group_size=6),
            processing_class=policy.tokenizer,
        )
