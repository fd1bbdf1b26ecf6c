"""Tensors are counted from the moment in which they are made to that in which they are freed, once each."""

from __future__ import annotations

import pytest
import torch

from aepo.doctor.allocations import Allocations


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_is_freed_is_given_back_and_a_view_costs_nothing(device: str) -> None:
    with Allocations() as live:
        first = torch.zeros(1000, device=device)
        view = first.view(10, 100)
        assert live.now == 4000
        second = first + 1
        assert live.now == live.peak == 8000
        del first, view
        assert (live.now, live.peak) == (4000, 8000)
        second.mul_(2)
        assert live.peak == 8000


def test_a_backward_pass_frees_what_the_forward_pass_kept() -> None:
    weight = torch.nn.Parameter(torch.ones(100, 100))
    rows = torch.ones(50, 100)
    with Allocations() as live:
        loss = torch.tanh(rows @ weight).square().sum()
        kept = live.now
        loss.backward()
        del loss
        assert kept >= 4 * 50 * 100
        assert live.now == 4 * 100 * 100, "the gradient alone is left"


def test_what_was_there_before_is_not_counted_when_it_is_looked_at() -> None:
    before = torch.ones(100, 100)
    with Allocations() as live:
        before.t().add_(1)
        assert live.peak == 0
