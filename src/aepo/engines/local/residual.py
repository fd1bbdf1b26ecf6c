"""Keeps the residual stream of a half-precision model in float32.

Each layer adds its part to the sum of the layers before it. In bfloat16 each sum is rounded to 8 bits. These roundings
are the largest part of the error of a model's log-probabilities (46 % of the variance in SmolLM2-135M). They differ
between the sampler's calls and the trainer's, whose products have other shapes. So the sums are kept in float32. Inputs
and outputs of the matrices stay in half precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from aepo.engines.local.head import HALF, base_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROBE = 4
"""Tokens of the trial."""


def widen_residual(model: PreTrainedModel) -> bool:
    """Keep the residual stream in float32 from now on: embeddings give float32, and norms round what they return.

    A model of another dtype does not change. A model whose layers read the stream elsewhere than in norms cannot run
    that way and does not change either.

    Returns:
        Whether the stream is kept in float32.
    """
    if model.dtype not in HALF:
        return False
    base = base_model(model)
    embeddings, decoder = base.get_input_embeddings(), base.get_decoder()
    rounded = _Rounded(embeddings.weight)
    hooks = [embeddings.register_forward_hook(_wide)]
    for module in decoder.modules():
        name = type(module).__name__
        if name.endswith("Norm") or "RotaryEmbedding" in name:
            hooks.append(module.register_forward_hook(rounded))
    try:
        _try(model)
    # A product of two dtypes is an error. Any other error of the model is no reason to stop either.
    except Exception:
        for hook in hooks:
            hook.remove()
        return False
    return True


def _wide(module: nn.Module, given: Any, output: Tensor) -> Tensor:
    return output.to(torch.promote_types(output.dtype, torch.float32))


@dataclass(frozen=True)
class _Rounded:
    """Rounds the output of a norm, or the angles of a rotation.

    Attributes:
        like: A tensor with the dtype of the weights, also in a copy of the model with weights of another dtype.
    """

    like: Tensor

    def __call__(self, module: nn.Module, given: Any, output: Any) -> Any:
        """Round the output, as a forward hook."""
        if isinstance(output, tuple):
            return tuple(part.to(self.like.dtype) for part in output)
        return output.to(self.like.dtype)


@torch.no_grad()
def _try(model: PreTrainedModel) -> None:
    was_training = model.training
    tokens = torch.arange(PROBE, device=model.device)[None] % model.config.get_text_config().vocab_size
    # With a whole mask transformers reads no values, which do not exist on the device "meta".
    mask = torch.zeros((1, 1, PROBE, PROBE), dtype=model.dtype, device=model.device)
    model.eval()
    try:
        model(input_ids=tokens, attention_mask=mask, use_cache=False)
    finally:
        model.train(was_training)
