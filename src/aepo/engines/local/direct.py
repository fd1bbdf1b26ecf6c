"""The forward pass of Llama-shaped models without their modules: fewer operations and no Python in between.

On a CPU, a decode step of a small model costs as much in module calls, casts and copies as in arithmetic. This pass
reads the same weights and gives the same logits (to rounding). Whether a model is of this shape is not taken from its
name: the modules must be there, and the logits must agree with the model's own on a few tokens. All other models run as
they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm, scaled_dot_product_attention

from aepo.engines.local.attention import attend_in_place
from aepo.engines.local.cache import Call, RowCache

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOLERANCE = 1e-4
"""Largest difference to the model's own logits, relative to the largest logit."""
PROBE = (2, 7)
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")


@dataclass(frozen=True)
class Layer:
    """One decoder layer's weights as (inputs, outputs); those of queries, keys and values as one matrix."""

    qkv: Tensor
    qkv_bias: Tensor | None
    head_norm: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    gate: Tensor
    up: Tensor
    down: Tensor


class DirectForward:
    """Logits of a Llama-shaped model over a `RowCache`; made by `direct_forward`.

    It holds a second copy of the weights, laid out for products of few rows, and the weights of each norm multiplied
    into the matrices that read its output.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        base = cast(Any, model.base_model)
        attention = base.layers[0].self_attn
        self.base, self.head = base, cast(nn.Linear, model.get_output_embeddings())
        self.size: int = attention.head_dim
        self.heads: int = attention.q_proj.out_features // self.size
        self.pairs: int = attention.k_proj.out_features // self.size
        self.scale: float = attention.scaling
        self.epsilon: float = base.norm.variance_epsilon
        # Complex numbers exist of float32 and float64.
        self.exact = torch.promote_types(self.head.weight.dtype, torch.float32)
        self.refresh()

    def refresh(self) -> None:
        """Take the weights as they are now; to be called after training has changed them."""
        self.layers = [self._layer(layer) for layer in self.base.layers]
        self.scores = _columns(self.head.weight, self.base.norm)

    def _layer(self, layer: Any) -> Layer:
        attention, mlp = layer.self_attn, layer.mlp
        query, key, value = attention.q_proj, attention.k_proj, attention.v_proj
        bias = None
        if value.bias is not None:
            bias = torch.cat([self._paired(query.bias), self._paired(key.bias), value.bias]).detach()
        head_norm = None
        if getattr(attention, "q_norm", None) is not None:
            weights = [attention.q_norm.weight.expand(self.heads, -1), attention.k_norm.weight.expand(self.pairs, -1)]
            head_norm = self._paired(torch.cat(weights).flatten()).view(-1, self.size).detach()
        three = torch.cat([self._paired(query.weight), self._paired(key.weight), value.weight])
        return Layer(
            _columns(three, layer.input_layernorm),
            bias,
            head_norm,
            _columns(attention.o_proj.weight),
            None if attention.o_proj.bias is None else attention.o_proj.bias.detach(),
            _columns(mlp.gate_proj.weight, layer.post_attention_layernorm),
            _columns(mlp.up_proj.weight, layer.post_attention_layernorm),
            _columns(mlp.down_proj.weight),
        )

    def _paired(self, of_heads: Tensor) -> Tensor:
        """(heads * head_dim, ...) with the two halves of each head interleaved.

        A rotation turns entry i of the first half with entry i of the second: side by side they are one complex number,
        and a rotation is one product. Scores do not change when queries and keys are reordered alike.
        """
        halves = of_heads.unflatten(0, (-1, 2, self.size // 2))
        return halves.transpose(1, 2).flatten(0, 2)

    def __call__(self, ids: Tensor, mask: Tensor, cache: RowCache, vocabulary: int) -> Tensor:
        """(R, V) logits after each row's last token.

        Args:
            ids: (R, T).
            mask: (R, 1, T, keys), additive.
            cache: Its `call` says where the rows lie and what they read.
            vocabulary: Logits of ids below it are given.
        """
        rows, width = ids.shape
        call = cache.call
        hidden = self.base.embed_tokens(ids)
        cos, sin = self.base.rotary_emb(hidden, position_ids=call.positions)
        half = self.size // 2
        angles = (part.reshape(rows * width, 1, self.size)[..., :half].to(self.exact) for part in (cos, sin))
        turn = torch.complex(*angles)
        hidden = hidden.reshape(rows * width, -1)
        act = self.base.layers[0].mlp.act_fn
        for number, layer in enumerate(self.layers):
            both, values = self._heads(layer, self._normed(hidden), turn)
            mixed = self._attend(cache, number, both, values, mask, rows, width)
            hidden = hidden.addmm_(mixed, layer.out)
            if layer.out_bias is not None:
                hidden += layer.out_bias
            normed = self._normed(hidden)
            hidden = hidden.addmm_(act(normed @ layer.gate).mul_(normed @ layer.up), layer.down)
        return self._normed(hidden.view(rows, width, -1)[:, -1]) @ self.scores[:, :vocabulary]

    def _normed(self, hidden: Tensor) -> Tensor:
        """Divide each row by its root mean square; the weights are in the matrices."""
        norm = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True)
        return hidden * norm.square_().div_(hidden.shape[-1]).add_(self.epsilon).rsqrt_()

    def _heads(self, layer: Layer, normed: Tensor, turn: Tensor) -> tuple[Tensor, Tensor]:
        """Rotated queries and keys (N, heads + pairs, head_dim) in one tensor, and values (N, pairs, head_dim)."""
        qkv = normed @ layer.qkv if layer.qkv_bias is None else torch.addmm(layer.qkv_bias, normed, layer.qkv)
        qkv = qkv.view(len(normed), -1, self.size)
        both = qkv[:, : self.heads + self.pairs]
        if layer.head_norm is not None:
            both = rms_norm(both, (self.size,), None, self.epsilon) * layer.head_norm
        pairs = torch.view_as_complex(both.to(self.exact).unflatten(-1, (-1, 2)))
        turned = torch.view_as_real(pairs * turn).flatten(-2).to(both.dtype)
        return turned, qkv[:, self.heads + self.pairs :]

    def _attend(
        self, cache: RowCache, number: int, both: Tensor, values: Tensor, mask: Tensor, rows: int, width: int
    ) -> Tensor:
        """(N, heads * head_dim): what each token reads from its row."""
        layer = cache.layers[number]
        shape = (rows, width, -1, self.size)
        query = both[:, : self.heads].reshape(shape).transpose(1, 2)
        new = [part.reshape(shape).transpose(1, 2) for part in (both[:, self.heads :], values)]
        keys, values = layer.update(*new)
        if cache.call.rows_in_block:
            return attend_in_place(query, layer, mask, self.scale).reshape(rows * width, -1)
        mixed = scaled_dot_product_attention(query, keys, values, mask, scale=self.scale, enable_gqa=True)
        return mixed.transpose(1, 2).reshape(rows * width, -1)


def _columns(weight: Tensor, norm: Any = None) -> Tensor:
    """A linear layer's matrix as (inputs, outputs), with the weights of the norm before it."""
    return (weight if norm is None else weight * norm.weight).detach().t().contiguous()


def direct_forward(model: PreTrainedModel) -> DirectForward | None:
    """The direct pass for a model that it fits, else None."""
    if not _llama_shaped(model):
        return None
    direct = DirectForward(model)
    return direct if _agrees(direct, model) else None


def _llama_shaped(model: PreTrainedModel) -> bool:
    """Whether the modules that the pass reads are there, plain, and the same in all layers."""
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
def _agrees(direct: DirectForward, model: PreTrainedModel) -> bool:
    """Compare with the model's own logits, token by token through a cache, on arbitrary ids."""
    rows, width = PROBE
    size = model.config.get_text_config().vocab_size
    ids = (torch.arange(rows * width).reshape(rows, width) * 31 + 7) % size
    was_training = model.training
    expected = model.eval()(input_ids=ids, use_cache=False).logits.float()
    model.train(was_training)
    cache = RowCache(len(direct.layers), block=4)
    cache.reserve(rows, width, rows, width)
    found = []
    for at in range(width):
        cache.call = Call(None, torch.full((rows, 1), at), length=at + 1, rows_in_block=[rows] * (at // 4 + 1))
        mask = torch.zeros(rows, 1, 1, at + 1, dtype=model.dtype)
        found.append(direct(ids[:, at : at + 1], mask, cache, size).float())
    difference = (torch.stack(found, 1) - expected).abs().max()
    return bool(difference <= TOLERANCE * expected.abs().max().clamp(min=1.0))
