"""Makes a model of given dimensions with random weights, and a tokenizer with one word per id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import tokenizers
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from aepo.engines.local.adapters import Lora, add
from aepo.engines.local.load import LoadedModel, checkpoint_activations
from aepo.engines.local.policy import LocalPolicy
from aepo.engines.local.supported import refuse_unsupported

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

PAD, END = 0, 1


def config_from(dimensions: Mapping[str, Any]) -> PreTrainedConfig:
    """The configuration of transformers for given dimensions.

    Args:
        dimensions: The fields of a `config.json`.

    Raises:
        ValueError: transformers does not accept them.
    """
    ids = {"pad_token_id": PAD, "eos_token_id": END, "bos_token_id": None}
    try:
        return AutoConfig.for_model(**{**dimensions, **ids})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"these dimensions are no model's: {' '.join(str(error).split())}") from error


def random_policy(
    dimensions: Mapping[str, Any],
    device: torch.device,
    dtype: torch.dtype,
    lora: Lora | None = None,
    gradient_checkpointing: bool = False,
) -> LocalPolicy:
    """Make a model with weights as at the start of pretraining.

    Args:
        dimensions: The fields of a `config.json`.
        device: The device where the model is made, so that it need not be moved.
        dtype: The type of the weights.
        lora: Train adapters only.
        gradient_checkpointing: Compute activations again in the backward pass.

    Raises:
        ValueError: The engine cannot run such a model.
    """
    config = config_from(dimensions)
    refuse_unsupported(config)
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")
    size = model.config.get_text_config().vocab_size
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({f"w{i}": i for i in range(size)}, unk_token=f"w{PAD}"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token=f"w{PAD}", eos_token=f"w{END}")
    if lora is not None:
        model = add(model, lora).to(device)
    if gradient_checkpointing:
        checkpoint_activations(model)
    return LocalPolicy(LoadedModel(model.eval(), tokenizer, "random", device))
