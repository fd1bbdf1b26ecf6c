"""The residual stream of a half-precision model in float32.

A layer adds its part to what the layers before it have made. In bfloat16 each sum is rounded to 8 bits, and these
roundings are the largest part of what a model's log-probabilities lose (46 % of the variance in SmolLM2-135M). They
fall otherwise in the sampler's calls than in the trainer's, whose products have other shapes. So the sums are kept in
float32; what the matrices read and give stays as it is.
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
"""Tokens on which it is tried."""


def widen_residual(model: PreTrainedModel) -> bool:
    """Keep the residual stream in float32, in every pass from now on: embeddings start it, norms read it.

    Models of another dtype stay as they are, and so do those that do not run that way: their layers read the stream
    elsewhere than in norms.

    Returns:
        Whether it is kept in float32.
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
    # Products of two dtypes are errors; what else a model makes of it is no reason to stop either.
    except Exception:
        for hook in hooks:
            hook.remove()
        return False
    return True


def _wide(module: nn.Module, given: Any, output: Tensor) -> Tensor:
    return output.to(torch.promote_types(output.dtype, torch.float32))


@dataclass(frozen=True)
class _Rounded:
    """Rounds what a norm, or the angles of a rotation, came to.

    Attributes:
        like: Has the dtype of the weights, also in a copy of the model whose weights have another one.
    """

    like: Tensor

    def __call__(self, module: nn.Module, given: Any, output: Any) -> Any:
        """A forward hook."""
        if isinstance(output, tuple):
            return tuple(part.to(self.like.dtype) for part in output)
        return output.to(self.like.dtype)


@torch.no_grad()
def _try(model: PreTrainedModel) -> None:
    was_training = model.training
    tokens = torch.arange(PROBE, device=model.device)[None] % model.config.get_text_config().vocab_size
    # With a whole mask transformers looks at no value, which the device "meta" has not.
    mask = torch.zeros((1, 1, PROBE, PROBE), dtype=model.dtype, device=model.device)
    model.eval()
    try:
        model(input_ids=tokens, attention_mask=mask, use_cache=False)
    finally:
        model.train(was_training)
