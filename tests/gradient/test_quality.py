"""The figures of a gradient are those of vectors whose mean and noise are known; sketches keep inner products."""

from __future__ import annotations

from math import isnan, nan

import pytest
import torch
from torch import Tensor

from aepo.gradient.quality import bootstrapped, gains, halves_agree, interval, quality
from aepo.gradient.sketch import sketch

SIZE = 200


def batches(mean_D: Tensor, noise: float, count: int, seed: int) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    return mean_D + noise * torch.randn(count, len(mean_D), generator=chance)


def unit(place: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(place), SIZE).float()


def test_direction_length_and_noise_are_found_again() -> None:
    reference = batches(2 * unit(0), 0.1, 200, 0)
    # Along 1, across 1; the variance of a batch is 200 * 0.01 = 2.
    found = quality(batches(unit(0) + unit(1), 0.1, 200, 1), reference)
    assert found.cosine == pytest.approx(2**-0.5, abs=0.05)
    assert (found.length, found.aside) == (pytest.approx(0.5, abs=0.03), pytest.approx(0.5, abs=0.05))
    assert found.noise == pytest.approx(2 / 4, rel=0.1)
    assert found.signal == pytest.approx(1 / 2, rel=0.15)
    assert halves_agree(reference) > 0.95


def test_a_squared_length_has_no_noise_in_expectation() -> None:
    """The squared length of a mean of 10 batches would be 1 + 2 / 10."""
    lengths = [quality(batches(unit(0), 0.1, 10, seed), batches(unit(0), 0.1, 400, -seed)) for seed in range(1, 60)]
    assert sum(one.cosine**-2 * one.length**2 for one in lengths) / 59 == pytest.approx(1.0, abs=0.03)


def test_a_gradient_against_the_reference_has_no_signal() -> None:
    found = quality(batches(-unit(0), 0.1, 100, 1), batches(unit(0), 0.1, 100, 0))
    assert found.cosine == pytest.approx(-1, abs=0.05) and found.signal < 0


def test_without_signal_there_is_no_number_instead_of_a_wrong_one() -> None:
    opposite = torch.stack([unit(0), -unit(0)])
    assert isnan(quality(opposite, opposite + 0).cosine)
    assert interval([1.0] * 9 + [nan]) != interval([1.0] * 10) == (1.0, 1.0)


def test_gains_are_by_the_first_method_and_by_its_costs() -> None:
    reference = batches(unit(0), 0.1, 100, 0)
    noisy, clean = batches(unit(0), 0.2, 100, 1), batches(unit(0), 0.1, 100, 2)
    qualities = [quality(one, reference) for one in (noisy, clean)]
    drawn = bootstrapped([noisy, clean], reference, draws=100)
    signals = [[one.signal for one in draw] for draw in drawn]
    first, second = gains([one.signal for one in qualities], signals, [100, 50], [1000, 2000])
    assert first.batch == (1.0, 1.0, 1.0)
    ratio, low, high = second.batch
    assert ratio == pytest.approx(4, rel=0.1) and low < ratio < high
    assert second.call == tuple(2 * value for value in second.batch)
    assert second.token == tuple(value / 2 for value in second.batch)
    other, itself = gains([one.signal for one in qualities], signals, [100, 50], [1000, 2000], base=1)
    assert itself.call == (1.0, 1.0, 1.0) and other.call[0] == pytest.approx(1 / second.call[0])


def test_the_bootstrap_makes_no_pair_of_a_batch_with_itself() -> None:
    """Pairs with itself would add the noise of a batch to the squared length."""
    drawn = bootstrapped([batches(unit(0), 0.3, 12, 1)], batches(unit(0), 0.01, 50, 2), draws=200)
    found = [one.length**2 / one.cosine**2 for (one,) in drawn if not isnan(one.cosine)]
    assert sum(found) / len(found) < 4, "with such pairs it would be above 1 + 18 / 12 on average by far"


def test_a_sketch_keeps_inner_products_and_is_linear() -> None:
    chance = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 300_000, generator=chance)
    both = one + 0.1 * other
    ours = [sketch(vector, 1 << 14) for vector in (one, both)]
    scale = float(one.norm() * both.norm())
    assert float(ours[0] @ ours[1]) / scale == pytest.approx(float(one @ both) / scale, abs=0.03)
    assert float(sketch(one, 1 << 14) @ sketch(other, 1 << 14)) / scale == pytest.approx(0.0, abs=0.03)
    assert torch.allclose(sketch(3 * one, 1 << 14), 3 * ours[0], atol=1e-3)
    assert torch.equal(sketch(one[:10], 16), torch.nn.functional.pad(one[:10], (0, 6)))
