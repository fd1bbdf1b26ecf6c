"""Finds the models that can run without their modules (`direct`).

The name of a model does not decide. It must have the expected modules, and the logits must agree with the model's own
on a few tokens. All other models run with their modules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from aepo.engines.local.cache import CacheCall
from aepo.engines.local.cpu.block_cache import BlockCache
from aepo.engines.local.cpu.direct import DirectModel
from aepo.engines.local.head import HALF

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOLERANCE = 1e-4
"""Largest difference to the model's own logits, relative to the largest logit."""
PROBE = (2, 7)
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")


def direct_model(model: PreTrainedModel) -> DirectModel | None:
    """The direct pass for a model; None if it does not fit the model."""
    # In half precision the model rounds elsewhere than the direct pass.
    if model.dtype in HALF or not _llama_shaped(model):
        return None
    direct = DirectModel(model)
    return direct if _agrees(direct, model) else None


def copied_bytes(model: PreTrainedModel) -> int:
    """The bytes of the weights that a direct pass would hold a second time: those of the layers."""
    if model.dtype in HALF or not _llama_shaped(model):
        return 0
    layers = cast(Any, model.base_model).layers
    return sum(weight.numel() * weight.element_size() for layer in layers for weight in layer.parameters())


def _llama_shaped(model: PreTrainedModel) -> bool:
    """Whether the model has the modules that the pass reads, unchanged, and the same in all layers."""
    base = cast(Any, model.base_model)
    head = model.get_output_embeddings()
    if type(head) is not nn.Linear or head.bias is not None:
        return False
    if not all(hasattr(base, name) for name in ("embed_tokens", "layers", "norm", "rotary_emb")):
        return False
    return _is_norm(base.norm) and all(_plain_layer(layer, base.norm.variance_epsilon) for layer in base.layers)


def _plain_layer(layer: Any, epsilon: float) -> bool:
    attention, mlp = getattr(layer, "self_attn", None), getattr(layer, "mlp", None)
    norms = [getattr(layer, name, None) for name in ("input_layernorm", "post_attention_layernorm")]
    norms += [norm for name in ("q_norm", "k_norm") if (norm := getattr(attention, name, None)) is not None]
    parts = [getattr(attention, name, None) for name in PROJECTIONS]
    inner = [getattr(mlp, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
    # An adapter or a quantised layer is not an nn.Linear.
    if not all(type(part) is nn.Linear for part in [*parts, *inner]) or not hasattr(mlp, "act_fn"):
        return False
    if any(part.bias is not None for part in inner) or not (hasattr(attention, "scaling")):
        return False
    return all(_is_norm(norm) and norm.variance_epsilon == epsilon for norm in norms)


def _is_norm(module: Any) -> bool:
    return hasattr(module, "variance_epsilon") and hasattr(module, "weight")


@torch.inference_mode()
def _agrees(direct: DirectModel, model: PreTrainedModel) -> bool:
    """Compare its logits with the model's own, on arbitrary ids that are read token by token through a cache."""
    rows, width = PROBE
    size = model.config.get_text_config().vocab_size
    ids = (torch.arange(rows * width).reshape(rows, width) * 31 + 7) % size
    was_training = model.training
    expected = model.eval()(input_ids=ids, use_cache=False).logits.float()
    model.train(was_training)
    cache = BlockCache(len(direct.layers), rows, width, block=4)
    cache.reserve(rows, width)
    found = []
    for at in range(width):
        cache.begin(CacheCall(None, torch.full((rows, 1), at), length=at + 1, read=[at + 1] * rows))
        mask = torch.zeros(rows, 1, 1, at + 1, dtype=model.dtype)
        found.append(direct(ids[:, at : at + 1], mask, cache, size).float())
    difference = (torch.stack(found, 1) - expected).abs().max()
    return bool(difference <= TOLERANCE * expected.abs().max().clamp(min=1.0))
