"""Steps that bfloat16 cannot hold add up all the same, and a resumed optimizer goes on exactly."""

from __future__ import annotations

import pytest
import torch

from aepo.training.optimizer import AdamW, rate_factor


def weight(dtype: torch.dtype) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.linspace(0.5, 2.0, 8).to(dtype))


def walk(parameter: torch.nn.Parameter, optimizer: torch.optim.Optimizer, steps: int, first: int = 0) -> None:
    for number in range(first, first + steps):
        optimizer.zero_grad()
        parameter.grad = torch.sin(torch.arange(8.0) + 1 + 0.1 * number).to(parameter.dtype)
        optimizer.step()


def test_small_steps_in_bfloat16_arrive_where_float32_does() -> None:
    half, full = weight(torch.bfloat16), weight(torch.float32)
    start = full.detach().clone()
    walk(half, AdamW([half], 1e-4), 100)
    walk(full, torch.optim.AdamW([full], lr=1e-4, weight_decay=0.0), 100)
    assert (half.detach() != start.to(torch.bfloat16)).any()
    assert (half.detach().float() - full.detach()).abs().max() <= 2.0 / 256
    alone = weight(torch.bfloat16)
    walk(alone, torch.optim.AdamW([alone], lr=1e-4, weight_decay=0.0), 100)
    assert torch.equal(alone.detach(), start.to(torch.bfloat16)), "without masters nothing moves: else this is no test"


def test_float32_is_stepped_as_by_torch() -> None:
    ours, theirs = weight(torch.float32), weight(torch.float32)
    walk(ours, AdamW([ours], 1e-2, 0.1), 5)
    walk(theirs, torch.optim.AdamW([theirs], lr=1e-2, weight_decay=0.1), 5)
    assert torch.equal(ours, theirs)


def test_a_resumed_optimizer_goes_on_bit_for_bit() -> None:
    whole = weight(torch.bfloat16)
    walk(whole, AdamW([whole], 1e-4), 80)
    part = weight(torch.bfloat16)
    first = AdamW([part], 1e-4)
    walk(part, first, 37)
    again = torch.nn.Parameter(part.detach().clone())
    second = AdamW([again], 1e-4)
    second.load_state_dict(first.state_dict())
    walk(again, second, 43, first=37)
    assert torch.equal(again, whole)


def test_a_schedule_and_gradient_clipping_work_on_the_parameters() -> None:
    half = weight(torch.bfloat16)
    optimizer = AdamW([half], 1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 0.5**n)
    half.grad = torch.full((8,), 100.0, dtype=torch.bfloat16)
    torch.nn.utils.clip_grad_norm_([half], 1.0)
    optimizer.step()
    schedule.step()
    assert schedule.get_last_lr() == [0.5]
    optimizer.zero_grad()
    assert half.grad is None


def test_the_learning_rate_rises_and_stays_or_falls_to_the_end() -> None:
    constant = [rate_factor("constant", 3, 10)(n) for n in range(10)]
    assert constant == [0.25, 0.5, 0.75] + [1.0] * 7
    linear = [rate_factor("linear", 3, 10)(n) for n in range(12)]
    assert linear[:4] == [0.25, 0.5, 0.75, 1.0]
    assert linear[4:10] == pytest.approx([6 / 7, 5 / 7, 4 / 7, 3 / 7, 2 / 7, 1 / 7])
    assert linear[10:] == [0.0, 0.0], "a run that goes on past its end learns nothing"
    assert [rate_factor("linear", 0, 1)(n) for n in range(2)] == [1.0, 0.0]
    assert all(0 < rate_factor("linear", 10, 4)(n) < 1 for n in range(4)), "a warm-up longer than the run"
