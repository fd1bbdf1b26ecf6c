"""Direction, length, noise and signal of a method's gradient against a reference, from gradients of single batches.

A batch's gradient is x = s + noise. Means over pairs of different batches have no noise in expectation (U-statistics):

    S = mean x_i . x_j,  N = mean |x_i|^2 - S,  C = mean x_i . r_j

with r_j the batches of the reference, whose own S is S_r. Then

    cosine = C / sqrt(S S_r),  length = C / S_r,  aside = sqrt(max(0, S - C^2 / S_r) / S_r),
    signal-to-noise of a batch = (C^2 / S_r) / N

Cosine 1 and aside 0 mean the same direction. Cosine can exceed 1 by noise. With few batches S or S_r can come out at 0
or below; what would be divided by it is then NaN. A component against the reference's direction is a signal below 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, isnan, nan

import torch
from torch import Tensor


@dataclass(frozen=True)
class Quality:
    """The figures of one method.

    Attributes:
        cosine: The cosine of its mean gradient with the reference's.
        length: The component of its mean along the reference's, by the reference's length.
        aside: The component across it, by the same length: a bias.
        noise: N / S_r, the variance of one batch by the reference's squared length.
        signal: Signal-to-noise of one batch.
    """

    cosine: float
    length: float
    aside: float
    noise: float
    signal: float


@dataclass(frozen=True)
class Gain:
    """Signal-to-noise a batch, a call and a token by that of another method, each with its interval.

    Attributes:
        batch: Ratio, lower and upper end, of a batch.
        call: The same of an executed call.
        token: The same of a sampled token.
    """

    batch: tuple[float, float, float]
    call: tuple[float, float, float]
    token: tuple[float, float, float]


def quality(gradients_ND: Tensor, reference_MD: Tensor) -> Quality:
    """The figures of a method.

    Args:
        gradients_ND: One row a batch, at least two.
        reference_MD: The same of the reference; no batch is in both.
    """
    own, across, of_reference = _grams(gradients_ND, reference_MD)
    return _quality(own, across, of_reference, torch.arange(len(own)), torch.arange(len(of_reference)))


def bootstrapped(
    gradients: Sequence[Tensor], reference_MD: Tensor, draws: int = 500, seed: int = 0
) -> list[list[Quality]]:
    """For each draw the figures of all methods: batches are drawn with replacement, the same ones for all methods.

    Args:
        gradients: (N, D) of each method, N the same for all; batch n of all methods has the same questions.
        reference_MD: As in `quality`.
        draws: Number of draws.
        seed: The seed of the draws.
    """
    grams = [_grams(one_ND, reference_MD) for one_ND in gradients]
    chance = torch.Generator().manual_seed(seed)
    batches, references = len(gradients[0]), len(reference_MD)
    found = []
    while len(found) < draws:
        rows = torch.randint(batches, (batches,), generator=chance)
        columns = torch.randint(references, (references,), generator=chance)
        # A draw of one batch alone has no pair.
        if len(rows.unique()) > 1 and len(columns.unique()) > 1:
            found.append([_quality(*gram, rows, columns) for gram in grams])
    return found


def gains(
    signals: Sequence[float],
    drawn: Sequence[Sequence[float]],
    calls: Sequence[float],
    tokens: Sequence[float],
    base: int = 0,
) -> list[Gain]:
    """Signal-to-noise of each method by that of one of them, with 95 % intervals.

    Args:
        signals: The signals of a batch, for each method.
        drawn: The same in each draw of the bootstrap.
        calls: Executed calls of a batch, of each method.
        tokens: Sampled tokens of a batch, of each method.
        base: The number of the method that all are measured by.
    """
    found = []
    for number, signal in enumerate(signals):
        low, high = interval([_ratio(draw[number], draw[base]) for draw in drawn])
        ratio = _ratio(signal, signals[base])
        by_call = calls[base] / calls[number] if calls[number] else nan
        by_token = tokens[base] / tokens[number]
        found.append(
            Gain(
                (ratio, low, high),
                (ratio * by_call, low * by_call, high * by_call),
                (ratio * by_token, low * by_token, high * by_token),
            )
        )
    return found


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of a bootstrap; NaN if more than a twentieth of the draws gave no number."""
    known = sorted(value for value in values if not isnan(value))
    if len(known) < 0.95 * len(values):
        return nan, nan
    return known[int(0.025 * (len(known) - 1))], known[ceil(0.975 * (len(known) - 1))]


def _ratio(one: float, other: float) -> float:
    return one / other if other > 0.0 else nan


def halves_agree(reference_MD: Tensor) -> float:
    """The cosine of the mean gradients of both halves of the reference: how well it is known."""
    half = len(reference_MD) // 2
    one, other = reference_MD[:half].mean(0), reference_MD[half:].mean(0)
    return float(torch.nn.functional.cosine_similarity(one, other, dim=0))


def _grams(gradients_ND: Tensor, reference_MD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    gradients, reference = gradients_ND.double(), reference_MD.double()
    return gradients @ gradients.T, gradients @ reference.T, reference @ reference.T


def _quality(own: Tensor, across: Tensor, of_reference: Tensor, rows: Tensor, columns: Tensor) -> Quality:
    signal, noise = _signal_and_noise(own, rows)
    along = float(across[rows][:, columns].mean())
    true, _ = _signal_and_noise(of_reference, columns)
    if true <= 0.0 or noise <= 0.0:
        return Quality(nan, nan, nan, nan, nan)
    return Quality(
        along / (signal * true) ** 0.5 if signal > 0.0 else nan,
        along / true,
        (max(signal - along**2 / true, 0.0) / true) ** 0.5,
        noise / true,
        along * abs(along) / true / noise,
    )


def _signal_and_noise(gram: Tensor, rows: Tensor) -> tuple[float, float]:
    """S and N; a batch that was drawn twice makes no pair with itself."""
    drawn = gram[rows][:, rows]
    signal = float(drawn[rows[:, None] != rows].mean())
    return signal, float(drawn.diagonal().mean()) - signal
