"""Steps that bfloat16 cannot hold add up all the same, in 16 bytes a parameter, and a resumed optimizer goes on."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch

from aepo.doctor.allocations import Allocations
from aepo.training.masters import joined
from aepo.training.optimizer import AdamW, rate_factor


def weight(dtype: torch.dtype) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.linspace(0.5, 2.0, 8).to(dtype))


def walk(parameter: torch.nn.Parameter, optimizer: torch.optim.Optimizer, steps: int, first: int = 0) -> None:
    for number in range(first, first + steps):
        optimizer.zero_grad()
        parameter.grad = torch.sin(torch.arange(8.0) + 1 + 0.1 * number).to(parameter.grad_dtype)
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


def kept(state: dict[str, Any]) -> dict[str, Any]:
    """A state after it was written and read."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_resumed_optimizer_goes_on_bit_for_bit(dtype: torch.dtype) -> None:
    whole = weight(dtype)
    walk(whole, AdamW([whole], 1e-4), 80)
    part = weight(dtype)
    first = AdamW([part], 1e-4)
    walk(part, first, 37)
    again = torch.nn.Parameter(part.detach().clone())
    second = AdamW([again], 1e-4)
    second.load_state_dict(kept(first.state_dict()))
    walk(again, second, 43, first=37)
    assert torch.equal(again, whole)


def test_a_checkpoint_with_float32_copies_of_the_weights_is_read() -> None:
    """That of version 0.1: PyTorch's state of the copies, and the copies, of bfloat16 parameters alone."""
    half, full = weight(torch.bfloat16), weight(torch.float32)
    copy, beside = torch.nn.Parameter(half.detach().float()), weight(torch.float32)
    old = torch.optim.AdamW([beside, copy], lr=1e-4, weight_decay=0.0)
    for number in range(30):
        beside.grad = copy.grad = torch.sin(torch.arange(8.0) + 1 + 0.1 * number)
        old.step()
    saved = {**old.state_dict(), "masters": [copy.detach()]}
    half.data, full.data = copy.detach().to(torch.bfloat16), beside.detach().clone()
    new = AdamW([full, half], 1e-3)
    new.load_state_dict(kept(saved))
    assert torch.equal(joined(half, new.state_dict()["state"][1]["rest"]), copy)
    for parameter in (beside, copy, full, half):
        parameter.grad = torch.ones(8)
    old.step(), new.step()
    assert torch.equal(joined(half, new.state_dict()["state"][1]["rest"]), copy) and torch.equal(full, beside)


def test_it_takes_16_bytes_a_parameter_and_a_step_some_of_one_parameter() -> None:
    size, count = 5_000, 40
    for dtype in (torch.bfloat16, torch.float32):
        with Allocations() as live:
            trained = [torch.nn.Parameter(torch.ones(size, dtype=dtype)) for _ in range(count)]
            optimizer = AdamW(trained, 1e-4)
            for _ in range(2):
                for parameter in trained:
                    parameter.grad = torch.ones(size)
                held = live.peak = live.now
                optimizer.step()
        assert 16 * size * count <= held < 16 * size * count + 100 * count
        assert live.peak - held <= 12 * size


def test_gradients_of_bfloat16_weights_add_up_in_float32() -> None:
    half = weight(torch.bfloat16)
    optimizer = AdamW([half], 1e-4)
    parts = [torch.full((8,), 1.0 + number / 128, dtype=torch.bfloat16) for number in range(40)]
    for part in parts:
        (half * part).sum().backward()
    assert torch.equal(half.grad, sum(part.float() for part in parts))
    optimizer.zero_grad()
    assert half.grad is None


def test_groups_have_their_own_rate_and_decay() -> None:
    one, two = weight(torch.bfloat16), weight(torch.float32)
    optimizer = AdamW([{"params": [one], "lr": 0.0}, {"params": [two], "weight_decay": 0.5}], 0.1)
    start = one.detach().clone()
    theirs = weight(torch.float32)
    for parameter in (one, two, theirs):
        parameter.grad = torch.ones(8)
    optimizer.step()
    torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(one, start) and torch.equal(two, theirs)


def test_float16_is_refused() -> None:
    with pytest.raises(ValueError, match="float16 weights lose small gradients: load the model in bfloat16"):
        AdamW([weight(torch.float16)], 1e-4)


def test_a_schedule_and_gradient_clipping_work_on_the_parameters() -> None:
    half = weight(torch.bfloat16)
    optimizer = AdamW([half], 1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 0.5**n)
    half.grad = torch.full((8,), 100.0)
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
