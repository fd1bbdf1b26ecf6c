"""Controllers of entropy and KL, against rows worked by hand."""

import math

import pytest

from aepo.core.control import band_step, lagrange_step, skywork_step

START = math.log(1e-3)


@pytest.mark.parametrize(
    ("entropy", "alpha"),
    [
        (0.1, 0.001051271096376024),
        (0.19, 0.0010050125208594012),
        (0.21, 0.001),
        (0.35, 0.001),
        (0.6, 0.0009048374180359601),
    ],
)
def test_the_bonus_moves_only_outside_of_its_band(entropy: float, alpha: float) -> None:
    assert math.exp(band_step(START, entropy, 0.2, 0.4, 0.1, 1e-5, 1e-2)) == pytest.approx(alpha, rel=1e-12)


def test_the_bonus_stays_between_its_ends() -> None:
    assert math.exp(band_step(math.log(9e-3), 1e-6, 0.2, 0.4, 5.0, 1e-5, 1e-2)) == pytest.approx(1e-2)
    assert math.exp(band_step(math.log(2e-5), 9.0, 0.2, 0.4, 5.0, 1e-5, 1e-2)) == pytest.approx(1e-5)


@pytest.mark.parametrize(
    ("coefficient", "entropy", "moved"),
    [(0.0, 0.15, (1e-4, 1e-4)), (3e-4, 0.25, (2e-4, 0.0)), (5e-3, 0.1, (5e-3, 5e-3)), (0.0, 0.2, (0.0, 0.0))],
)
def test_skyworks_bonus_acts_below_its_target_alone(
    coefficient: float, entropy: float, moved: tuple[float, float]
) -> None:
    assert skywork_step(coefficient, entropy, 0.2) == pytest.approx(moved, abs=1e-15)


@pytest.mark.parametrize(
    ("kl", "beta"),
    [(0.0, 0.09048374180359597), (5e-4, 0.09512294245007144), (1e-3, 0.1), (3e-3, 0.11051709180756479)],
)
def test_the_weight_of_a_kl_term_follows_the_relative_gap(kl: float, beta: float) -> None:
    assert math.exp(lagrange_step(math.log(0.1), kl, 1e-3)) == pytest.approx(beta, rel=1e-12)


def test_broken_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="entropy is nan"):
        band_step(START, math.nan, 0.2, 0.4)
    with pytest.raises(ValueError, match="KL is inf"):
        lagrange_step(START, math.inf, 0.1)
    with pytest.raises(ValueError, match="must be above 0"):
        band_step(START, 0.3, 0.4, 0.2)
