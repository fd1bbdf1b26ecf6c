"""Runs Llama-shaped models without their modules, with fewer operations and less Python.

On a CPU, a decode step of a small model spends as much time on module calls, casts and copies as on arithmetic. This
pass reads the same weights and gives the same logits, up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm, scaled_dot_product_attention

from aepo.engines.local.cpu.block_cache import BlockCache
from aepo.engines.local.cpu.row_attention import attend_in_place

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Layer:
    """One decoder layer's weights as (inputs, outputs); queries, keys and values share one matrix."""

    qkv: Tensor
    qkv_bias: Tensor | None
    head_norm: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    gate: Tensor
    up: Tensor
    down: Tensor


class DirectModel:
    """Computes the logits of a Llama-shaped model over a `BlockCache`; `direct_model` makes it.

    It holds a second copy of the weights, laid out for products of few rows. The weights of each norm are multiplied
    into the matrices that read the norm's output.
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
        self.device, self.dtype = model.device, model.dtype
        # Complex numbers exist only for float32 and float64.
        self.exact = torch.promote_types(self.head.weight.dtype, torch.float32)
        self.refresh()

    def refresh(self) -> None:
        """Read the current weights; call it after training has changed them."""
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

        A rotation turns entry i of the first half with entry i of the second. Side by side they are one complex number,
        and a rotation is one product. Scores do not change if queries and keys are reordered in the same way.
        """
        halves = of_heads.unflatten(0, (-1, 2, self.size // 2))
        return halves.transpose(1, 2).flatten(0, 2)

    def __call__(self, ids: Tensor, mask: Tensor, cache: BlockCache, vocabulary: int) -> Tensor:
        """(R, V) logits after each row's last token.

        Args:
            ids: (R, T).
            mask: (R, 1, T, keys), additive.
            cache: The cache; its `call` says where the rows lie and what they read.
            vocabulary: V; logits are computed for the ids below it.
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
        """Divide each row by its root mean square; the norm's weights are already in the matrices."""
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
        self, cache: BlockCache, number: int, both: Tensor, values: Tensor, mask: Tensor, rows: int, width: int
    ) -> Tensor:
        """(N, heads * head_dim): the attention of each token over its row."""
        layer = cache.layers[number]
        shape = (rows, width, -1, self.size)
        query = both[:, : self.heads].reshape(shape).transpose(1, 2)
        new = [part.reshape(shape).transpose(1, 2) for part in (both[:, self.heads :], values)]
        keys, values = layer.update(*new)
        if cache.call.slots is None:
            return attend_in_place(query, layer, mask, self.scale).reshape(rows * width, -1)
        mixed = scaled_dot_product_attention(query, keys, values, mask, scale=self.scale, enable_gqa=True)
        return mixed.transpose(1, 2).reshape(rows * width, -1)


def _columns(weight: Tensor, norm: Any = None) -> Tensor:
    """A linear layer's matrix as (inputs, outputs), with the weights of the norm before it."""
    return (weight if norm is None else weight * norm.weight).detach().t().contiguous()
