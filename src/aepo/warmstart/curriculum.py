"""Makes batches of random tokens that repeat, so that attention learns to copy before it sees language."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

FEW = 24


def copy_batches(
    vocab_size: int, first: int, rows: int, length: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches (ids, mask) of shape (rows, length) without end; the mask is True on tokens to predict.

    These are the tokens that earlier tokens determine. In every four rows, two repeat one piece of random tokens to the
    end, and two copy pieces of their first half into their second half. Half of the rows use few different tokens. One
    token of context then does not determine the source of a copy, as with digits.

    Args:
        vocab_size: All drawn ids are below it.
        first: The smallest drawn id.
        rows: Number of rows in a batch.
        length: Number of tokens in a row.
        generator: Random generator.
    """

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=generator))

    while True:
        ids = torch.randint(first, vocab_size, (rows, length), generator=generator)
        mask = torch.zeros(rows, length, dtype=torch.bool)
        for row in range(rows):
            if row % 2:
                few = torch.randint(first, vocab_size, (FEW,), generator=generator)
                ids[row] = few[torch.randint(0, FEW, (length,), generator=generator)]
            if row % 4 < 2:
                period = draw(4, length // 2)
                ids[row] = ids[row, :period].repeat(length // period + 1)[:length]
                mask[row, period + 2 :] = True
                continue
            at = length // 2
            while at < length:
                size = draw(6, 20)
                start = draw(0, length // 2 - size)
                size = min(size, length - at)
                ids[row, at : at + size] = ids[row, start : start + size].clone()
                mask[row, at + 3 : at + size] = True
                at += size
        yield ids, mask
