"""Reduces per-token losses to one number."""

from __future__ import annotations

import torch
from torch import Tensor

MODES = ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum")


def aggregate(
    loss: Tensor,
    loss_mask: Tensor,
    mode: str = "token-mean",
    tokens: float | None = None,
    trajectories: float | None = None,
) -> Tensor:
    """One scalar from the losses of the trained tokens; other losses are never read.

    | mode | value |
    |---|---|
    | token-mean | sum of losses / trained tokens |
    | seq-mean-token-mean | sum over trajectories of their mean loss / trajectories |
    | seq-mean-token-sum | sum over trajectories of their summed loss / trajectories |

    A trajectory without a trained token adds nothing and is not counted. Without any trained token the result is 0.
    With the counts of the global batch as denominators, the results of micro-batches (whole rows) add up to the result
    of the whole batch; without them this batch's own counts are used.

    Args:
        loss: (B, T), one trajectory a row.
        loss_mask: (B, T), not 0 where the token is trained.
        mode: One of `MODES`.
        tokens: Trained tokens of the global batch; used by token-mean.
        trajectories: Trajectories of the global batch with a trained token; used by the other two.

    Returns:
        A scalar.

    Raises:
        ValueError: Unknown mode, or a denominator below 0.
    """
    trained = loss_mask != 0
    # `where` instead of a product: the loss of a padding token can be inf, and 0 times inf is NaN.
    sums = torch.where(trained, loss, torch.zeros_like(loss)).sum(-1)
    return (row_weights(loss_mask, mode, tokens, trajectories).to(sums.dtype) * sums).sum()


def row_weights(
    loss_mask: Tensor, mode: str = "token-mean", tokens: float | None = None, trajectories: float | None = None
) -> Tensor:
    """(B,): w_i, the weight of each trained token of trajectory i; `aggregate` is the sum of w_i loss_it.

    The arguments and errors are those of `aggregate`. The result is float64 where the device has it.
    """
    if mode not in MODES:
        raise ValueError(f"unknown aggregation {mode!r}, known are {', '.join(MODES)}")
    counts = (loss_mask != 0).sum(-1)
    # Apple's GPUs have no float64.
    ones = torch.ones_like(counts, dtype=torch.float32 if counts.device.type == "mps" else torch.float64)
    if mode == "token-mean":
        return ones / _denominator("tokens", tokens, counts.sum())
    if mode == "seq-mean-token-mean":
        ones = ones / counts.clamp(min=1)
    return ones / _denominator("trajectories", trajectories, (counts > 0).sum())


def _denominator(name: str, given: float | None, own: Tensor) -> Tensor | float:
    if given is None:
        return own.clamp(min=1)
    if not given >= 0:
        raise ValueError(f"{name} is {given}, it must be the count over the global batch")
    return given or 1.0
