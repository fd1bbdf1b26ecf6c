"""Writes prompts of a run with its tokenizer alone, before its model is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aepo.config import Config
from aepo.engines.named import check_named
from aepo.engines.stopping import ends_of
from aepo.equipment.agents import protocols_of, room_for_instructions
from aepo.equipment.models import is_server, policy_folder
from aepo.files.instruction import read_instruction
from aepo.tasks.base import Task

if TYPE_CHECKING:
    from aepo.rollout.chat import ChatProtocol


def protocols_without_model(config: Config, task: Task) -> tuple[dict[str, ChatProtocol], Any]:
    """The chat protocols of a task by environment, "" without one, and the tokenizer.

    Raises:
        ValueError: The tokenizer cannot be loaded, or does not fit the protocol.
    """
    path = config.model.tokenizer or policy_folder(config.model.path)
    if is_server(path):
        raise ValueError(f"{path} is a server, whose tokenizer is not known: name one by model.tokenizer")
    check_named(path)
    from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"tokenizer of model {config.model.path}: {str(error).strip().splitlines()[0]}") from error
    return protocols_of(task, config, tokenizer, ends_of(path)), tokenizer


def longest_prompt(config: Config, task: Task) -> list[int]:
    """The token ids of a run's longest prompt.

    Raises:
        ValueError: The tokenizer cannot be loaded, or does not fit the protocol.
    """
    protocols, _ = protocols_without_model(config, task)
    asked = [*task.samples, *task.held_out[: config.evaluation.questions]]
    told = read_instruction(policy_folder(config.model.path))
    prompt = max((protocols[task.environment_of(sample)].prompt(sample.question, told) for sample in asked), key=len)
    # The opening of an environment and new instructions are not known yet; only their length counts here.
    more = room_for_instructions(config) + (config.rollout.max_opening_tokens if task.environments else 0)
    return prompt + prompt[-1:] * more
