"""Samples by the inverse of the cumulative distribution, with exact log-probabilities and entropies."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from aepo.engines.local.head import PIECE_BYTES

# The probabilities of WIDTH tokens are summed first. So the cumulative sum runs over V / WIDTH numbers per row, and
# then over WIDTH numbers, instead of over V.
WIDTH = 64
# exp of it is 0 in float32, and the entropy never has the term 0 * -inf.
FLOOR = -1e4
# The number of likeliest tokens in `reference_entropies`.
REFERENCE_CANDIDATES = 10


@dataclass(frozen=True)
class Drawn:
    """One token per row, with its log-probability and the entropies there in nats; all are on the host."""

    tokens: list[int]
    logprobs: list[float]
    entropies: list[float]
    reference_entropies: list[float]


def draw(
    logits: Tensor, uniforms: Tensor, temperature: float = 1.0, greedy: bool = False, reference: bool = False
) -> Drawn:
    """Sample one token a row from softmax(z / T) over the whole vocabulary.

    token = min{j : F_j > u F_V},  F the cumulative sum of exp((z - max z) / T). No token is left out, but a token of
    probability 0 is never drawn.

    Args:
        logits: (R, V), any floating dtype; the arithmetic is in float32, the sums that decide are in float64.
        uniforms: (R,) float64 in [0, 1).
        temperature: T > 0.
        greedy: Take the likeliest token; log-probabilities and entropies stay those of T.
        reference: Also compute -sum p ln p over the ten likeliest tokens.

    Raises:
        FloatingPointError: A row has NaN or no finite logit.
    """
    at_once = max(1, PIECE_BYTES // (4 * logits.shape[1]))
    if len(logits) <= at_once:
        return _draw(logits, uniforms, temperature, greedy, reference)
    parts = zip(logits.split(at_once), uniforms.split(at_once), strict=True)
    drawn = [_draw(*part, temperature, greedy, reference) for part in parts]
    names = [field.name for field in fields(Drawn)]
    return Drawn(*([value for one in drawn for value in getattr(one, name)] for name in names))


def _draw(logits: Tensor, uniforms: Tensor, temperature: float, greedy: bool, reference: bool) -> Drawn:
    rows, size = logits.shape
    scaled = logits.float()
    scaled = scaled - scaled.amax(-1, keepdim=True)
    if temperature != 1.0:
        scaled /= temperature
    scaled.clamp_(min=FLOOR)
    # This is one fused kernel; exp alone takes longer.
    weights = torch.softmax(scaled, -1)
    padded = torch.nn.functional.pad(weights, (0, -size % WIDTH)) if size % WIDTH else weights
    parts = padded.view(rows, -1, WIDTH)
    exact = sums_on(logits.device)
    cumulative = parts.sum(-1).to(exact).double().cumsum(-1)
    total = cumulative[:, -1]
    if greedy:
        tokens = scaled.argmax(-1, keepdim=True)
    else:
        part, rest = _invert(cumulative, uniforms.to(exact) * total)
        inner = parts[torch.arange(rows, device=parts.device), part.to(parts.device)].to(exact).double().cumsum(-1)
        # A sum in another order differs by a rounding, so the rest of the target is used as a share of its part.
        mass = cumulative.gather(1, part[:, None])[:, 0] - _before(cumulative, part)
        place, _ = _invert(inner, rest / mass * inner[:, -1])
        tokens = (part * WIDTH + place)[:, None].to(logits.device)
    # The likeliest token has z = 0 here.
    log_total = -weights.amax(-1).log()
    logprobs = scaled.gather(1, tokens)[:, 0] - log_total
    entropies = log_total - (weights * scaled).sum(-1)
    if not bool(torch.isfinite(entropies).all()):
        bad = int((~torch.isfinite(entropies)).sum())
        raise FloatingPointError(f"the model gave NaN or infinite logits in {bad} of {rows} rows: its weights diverged")
    top: list[float] = []
    if reference:
        logp = scaled.topk(min(REFERENCE_CANDIDATES, size), -1).values - log_total[:, None]
        top = (-logp.exp() * logp).sum(-1).tolist()
    # Rounding can leave an entropy of -1e-8 where one token has all the probability.
    return Drawn(tokens[:, 0].tolist(), logprobs.tolist(), entropies.clamp_(min=0.0).tolist(), top)


def sums_on(device: torch.device) -> torch.device:
    """The device that computes sums in float64 for logits on a device, because MPS has no float64."""
    return torch.device("cpu") if device.type == "mps" else device


def _invert(cumulative: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The first index whose cumulative sum is above the target, and how far the target lies inside it."""
    # The target must be below the end after any rounding, so that an index exists and the sum rises there.
    target = torch.minimum(target, torch.nextafter(cumulative[:, -1], torch.zeros_like(target)))
    index = (cumulative <= target[:, None]).sum(-1)
    return index, target - _before(cumulative, index)


def _before(cumulative: Tensor, index: Tensor) -> Tensor:
    """The cumulative sum of the entries before `index`."""
    return torch.where(index > 0, cumulative.gather(1, (index - 1).clamp(min=0)[:, None])[:, 0], 0.0)
