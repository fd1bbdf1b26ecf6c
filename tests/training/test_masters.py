"""A bfloat16 weight and its rest are the float32 value, bit for bit."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from aepo.training.masters import divide, joined


def test_every_kind_of_number_comes_back_and_is_rounded_to_the_nearest() -> None:
    chance = torch.Generator().manual_seed(0)
    bits = torch.randint(-(2**31), 2**31, (100_000,), generator=chance, dtype=torch.int64).to(torch.int32)
    numbers = bits.view(torch.float32)
    numbers = numbers[torch.isfinite(numbers) & (numbers.abs() < 3e38)]
    weight, rest = torch.empty_like(numbers, dtype=torch.bfloat16), torch.empty_like(numbers, dtype=torch.int16)
    divide(numbers.clone(), weight, rest)
    assert torch.equal(joined(weight, rest), numbers)
    ties = (numbers.view(torch.int32) & 0xFFFF) == 0x8000
    assert torch.equal(weight[~ties], numbers[~ties].to(torch.bfloat16))


@given(st.floats(width=32, min_value=-(2.0**100), max_value=2.0**100))
def test_any_number_comes_back(number: float) -> None:
    whole = torch.tensor([number])
    weight, rest = torch.zeros(1, dtype=torch.bfloat16), torch.zeros(1, dtype=torch.int16)
    divide(whole.clone(), weight, rest)
    assert joined(weight, rest).view(torch.int32) == whole.view(torch.int32)


def test_two_equally_near_weights_are_both_half_a_step_away() -> None:
    for bits in (0x3F808000, 0x3F818000, -0x407F8000):
        whole = torch.tensor([bits], dtype=torch.int32).view(torch.float32)
        weight, rest = torch.zeros(1, dtype=torch.bfloat16), torch.zeros(1, dtype=torch.int16)
        divide(whole.clone(), weight, rest)
        assert joined(weight, rest) == whole
        assert (weight.float() - whole).abs() == (whole.to(torch.bfloat16).float() - whole).abs()
