"""Parts of a gradient by entropy add up to it, and noise is found in the part that has it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aepo import config
from aepo.gradient.measure import Amount
from aepo.gradient.run import measure
from benchmarks.gradient_by_entropy import TENTHS, best_factors, methods, parts_of, shares, tables, weighed
from tests import tiny


def test_the_parts_of_a_model_add_up_to_its_gradient(tmp_path: Path, model_folder: Path) -> None:
    settings = config.load(None, tiny.settings(tmp_path / "run", model_folder, "train.threads=1"))
    compared = methods(settings.algorithm.group_size)
    measured = measure(settings, compared, Amount(batches=4, reference=4, pilot=1, questions=3), lambda line: None)
    parts = parts_of(measured, "reward", "plain")
    whole = torch.stack(measured.gradients["reward", "plain", "grpo"])
    assert torch.allclose(weighed(parts, torch.ones(TENTHS)), whole, atol=1e-5 * float(whole.abs().max()))
    lines, records = tables(measured, compared)
    entropies = records[0]["entropies"]
    assert entropies == sorted(entropies) and len(lines) == 8


def test_noise_is_found_where_it_is_and_the_best_factors_leave_it_out() -> None:
    chance = torch.Generator().manual_seed(0)
    direction = torch.randn(50, generator=chance)
    noise_T = torch.tensor([1.0] * (TENTHS - 1) + [10.0])
    parts = direction + noise_T[:, None, None] * torch.randn(TENTHS, 200, 50, generator=chance)
    reference = direction + torch.randn(200, 50, generator=chance)
    found = shares(parts, reference)
    assert sum(one["signal_share"] for one in found) == pytest.approx(1.0)
    assert sum(one["noise_share"] for one in found) == pytest.approx(1.0)
    assert found[-1]["noise_share"] > 0.8 and found[-1]["signal_share"] == pytest.approx(0.1, abs=0.05)
    factors = best_factors(parts, reference)
    assert float(factors[-1]) < 0.2 * float(factors[:-1].min())
