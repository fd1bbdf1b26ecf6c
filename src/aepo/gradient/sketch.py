"""Short vectors that keep inner products: gradients of any size can be kept by the hundred."""

from __future__ import annotations

import torch
from torch import Tensor

SIZE = 1 << 16
"""Entries of a sketch. Inner products are off by about 1 / sqrt(SIZE) of the product of both lengths."""

_CHUNK = 1 << 22


def sketch(vector: Tensor, size: int = SIZE) -> Tensor:
    """(size,), float32: the entries of a vector, each with a sign, added up in places; both follow from its number.

    Sketches are linear, and the inner product of two of them has that of the vectors as its mean (count sketch,
    Charikar et al., 2002).

    Args:
        vector: (P,), on any device.
        size: A power of 2; a vector that is not longer is returned as it is, padded.
    """
    found = torch.zeros(size, device=vector.device)
    if len(vector) <= size:
        found[: len(vector)] = vector
        return found.cpu()
    for start in range(0, len(vector), _CHUNK):
        part = vector[start : start + _CHUNK].float()
        mixed = _mixed(torch.arange(start, start + len(part), device=vector.device))
        signs = ((mixed >> 20) & 1) * 2 - 1
        found.index_add_(0, mixed & (size - 1), part * signs)
    return found.cpu()


def _mixed(numbers: Tensor) -> Tensor:
    """Numbers of 31 bits that look random; products stay below 2^63."""
    mixed = (numbers + 1) & 0x7FFFFFFF
    for factor in (0x45D9F3B, 0x119DE1F3):
        mixed = ((mixed >> 15) ^ mixed) * factor & 0x7FFFFFFF
    return (mixed >> 16) ^ mixed
