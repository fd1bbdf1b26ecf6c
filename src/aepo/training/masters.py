"""Keeps float32 values of bfloat16 weights: a weight holds the upper 16 bits, and a rest beside it holds the others.

    bits(m) = 2^16 bits(w) + r,  -2^15 <= r < 2^15

w is m rounded to the nearest bfloat16 (of two equally near ones, the larger). So a float32 value costs four bytes, not
the six of a float32 copy beside the weight. TransformerEngine's FusedAdam does the same (`store_param_remainders`).
"""

from __future__ import annotations

import torch
from torch import Tensor


def joined(weight: Tensor, rest: Tensor) -> Tensor:
    """The float32 value m.

    Args:
        weight: w, in bfloat16.
        rest: r, in int16, with the same shape.
    """
    bits = weight.detach().view(torch.int16).to(torch.int32)
    bits <<= 16
    bits += rest
    return bits.view(torch.float32)


def divide(whole: Tensor, weight: Tensor, rest: Tensor) -> None:
    """Write w and r of a float32 value m.

    Args:
        whole: m; its memory is overwritten.
        weight: Gets w.
        rest: Gets r.
    """
    bits = whole.view(torch.int32)
    # A cast to fewer bits keeps the lower bits.
    rest.copy_(bits)
    bits += 1 << 15
    bits >>= 16
    weight.detach().view(torch.int16).copy_(bits)
