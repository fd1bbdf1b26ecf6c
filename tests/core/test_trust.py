"""Divergences of a token's distribution, and losses that act by them, against rows worked by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aepo.core.trust import binary_kl, divergence, inside, kl_estimate, masked, top_kl, total_variation

OLD = torch.tensor([0.6323326828120425, 0.23262219398733308, 0.08557692272813494, 0.04946820047248952]).double()
NEW = torch.tensor([0.739465589387688, 0.1350881797850753, 0.08193512280442056, 0.04351110802281614]).double()


def log(probability: float) -> torch.Tensor:
    return torch.tensor([probability], dtype=torch.float64).log()


@pytest.mark.parametrize(
    ("new", "old", "tv", "kl"),
    [
        (0.003, 0.001, 0.002, 0.0009033923893604372),
        (0.6, 0.4, 0.2, 0.08109302162163282),
        (0.99, 0.8, 0.19, 0.4286718823422313),
        (0.0005, 0.001, 0.0005, 0.00019327226395053556),
    ],
)
def test_worked_divergences(new: float, old: float, tv: float, kl: float) -> None:
    assert float(total_variation(log(new), log(old))) == pytest.approx(tv, rel=1e-9)
    assert float(binary_kl(log(new), log(old))) == pytest.approx(kl, rel=1e-9)


@pytest.mark.parametrize(
    ("new", "old", "advantage", "cut"),
    [
        (0.003, 0.001, 1.0, False),
        (0.6, 0.4, 1.0, True),
        (0.99, 0.8, 1.0, True),
        (0.4, 0.6, -1.0, True),
        (0.0005, 0.001, -1.0, False),
        (0.6, 0.4, -1.0, False),
    ],
)
@pytest.mark.parametrize("kind", ["tv", "kl"])
def test_a_mask_cuts_what_leads_far_away_and_keeps_rare_tokens(
    kind: str, new: float, old: float, advantage: float, cut: bool
) -> None:
    given_ = log(new).requires_grad_()
    loss = masked(given_, log(old), torch.tensor([advantage]), kind, 0.15 if kind == "tv" else 0.05)
    (gradient,) = torch.autograd.grad(loss.sum(), given_)
    assert float(-gradient / advantage) == pytest.approx(0.0 if cut else new / old, rel=1e-9)


def test_a_ratio_is_bounded_where_no_mask_cuts() -> None:
    given_ = log(0.01).requires_grad_()
    (gradient,) = torch.autograd.grad(masked(given_, log(1e-5), torch.tensor([1.0])).sum(), given_)
    assert float(-gradient) == pytest.approx(20.0)


@pytest.mark.parametrize(("ratio", "k3"), [(0.5, 0.1931471805599453), (1.0, 0.0), (2.0, 0.3068528194400547)])
def test_worked_estimates(ratio: float, k3: float) -> None:
    assert float(kl_estimate(log(0.4 * ratio), log(0.4))) == pytest.approx(k3, abs=1e-12)


def test_more_tokens_bring_the_bound_nearer_and_the_estimate_is_unbiased() -> None:
    full = float((OLD * (OLD / NEW).log()).sum())
    bounds = [float(top_kl(NEW[:q].log(), OLD[:q].log())) for q in (1, 2, 3, 4)]
    assert bounds == sorted(bounds) and bounds[-1] == pytest.approx(full) == pytest.approx(bounds[2])
    assert bounds[0] == pytest.approx(0.027672923294296645) and bounds[1] == pytest.approx(0.037416746919434515)
    assert float((OLD * kl_estimate(NEW.log(), OLD.log())).sum()) == pytest.approx(full)
    assert bounds[0] == pytest.approx(float(binary_kl(NEW[:1].log(), OLD[:1].log())))


@given(st.floats(-30, 0), st.floats(-30, 0), st.sampled_from(["binary", "k3"]))
def test_divergences_are_finite_never_negative_and_0_without_a_move(new: float, old: float, estimate: str) -> None:
    one, other = torch.tensor([new]).requires_grad_(), torch.tensor([old])
    found = divergence(one, other, estimate)
    found.sum().backward()
    assert math.isfinite(found.item()) and found.item() >= 0 and bool(torch.isfinite(one.grad).all())
    assert float(divergence(other, other, estimate)) == pytest.approx(0.0, abs=1e-6)
    assert bool(inside(one, other, 0.1, estimate)) == (found.item() < 0.1)


def test_unknown_words_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown divergence"):
        masked(log(0.5), log(0.5), torch.ones(1), "js")
    with pytest.raises(ValueError, match="unknown estimate"):
        divergence(log(0.5), log(0.5), "k2")
