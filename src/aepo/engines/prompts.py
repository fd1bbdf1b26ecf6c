"""Finds the longest prompt of a run, before its model is loaded."""

from __future__ import annotations

from typing import Any

from aepo.config import Config
from aepo.engines.stopping import ends_of
from aepo.equipment.agents import protocols_of
from aepo.equipment.models import policy_folder
from aepo.tasks.base import Task


def longest_prompt(config: Config, task: Task) -> list[int]:
    """The token ids of a run's longest prompt.

    Raises:
        ValueError: The tokenizer cannot be loaded, or does not fit the protocol.
    """
    from transformers import AutoTokenizer

    path = policy_folder(config.model.path)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"tokenizer of model {config.model.path}: {str(error).strip().splitlines()[0]}") from error
    protocols = protocols_of(task, config, tokenizer, ends_of(path))
    asked = [*task.samples, *task.held_out[: config.evaluation.questions]]
    prompt = max((protocols[task.environment_of(sample)].prompt(sample.question) for sample in asked), key=len)
    # The opening of an environment is not known yet; only its length counts here.
    return prompt + prompt[-1:] * (config.rollout.max_opening_tokens if task.environments else 0)
