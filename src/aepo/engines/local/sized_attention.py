"""Attention on the device "meta": it has the memory of a fused kernel and computes no numbers."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn


class SizedAttention:
    """An attention of a trie that only has the memory of the real one (a `TreeAttention`)."""

    def __call__(
        self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor, scaling: float | None = None
    ) -> Tensor:
        """See `TreeAttention`."""
        return cast(Tensor, _Kernel.apply(query, key, value))


class _Kernel(torch.autograd.Function):
    """Holds the tensors that a fused kernel keeps: arguments, result, and a log-sum-exp of each query and head."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = query.new_empty(query.transpose(1, 2).shape)
        ctx.save_for_backward(query, key, value, out, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value, _, _ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
