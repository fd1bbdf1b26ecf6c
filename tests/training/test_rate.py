"""The automatic learning rate: its two measured ends, and that a run takes it and tells."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.api import train_config
from aepo.config import load
from aepo.runs.metrics import read_metrics
from aepo.training.rate import automatic_rate, with_rate
from tests import tiny


@pytest.mark.parametrize(
    ("parameters", "adapter", "rate"),
    [
        (1_300_000, False, 3.1e-4),
        (135_000_000, False, 1.4e-5),
        (600_000_000, False, 5.1e-6),
        (7_000_000_000, False, 1e-6),
        (70_000_000_000, False, 1e-6),
        (600_000_000, True, 5.1e-5),
        (7_000_000_000, True, 1e-5),
    ],
)
def test_the_rate_falls_with_the_size_and_is_ten_times_higher_for_an_adapter(
    parameters: int, adapter: bool, rate: float
) -> None:
    assert automatic_rate(parameters, adapter) == pytest.approx(rate)


@given(st.integers(1_000, 10**12), st.integers(1_000, 10**12))
def test_a_larger_model_never_gets_a_higher_rate(one: int, other: int) -> None:
    small, large = sorted((one, other))
    assert automatic_rate(small, False) >= automatic_rate(large, False) >= 1e-6


def test_a_rate_of_ones_own_stays() -> None:
    assert with_rate(load(None, ["train.learning_rate=2e-5"]), 1_000).train.learning_rate == 2e-5
    assert with_rate(load(None, ["model.lora.rank=4"]), 7 * 10**9).train.learning_rate == 1e-5


def test_a_run_takes_it_keeps_it_and_tells(
    tmp_path: Path, model_folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = tiny.settings(tmp_path / "run", model_folder, "train.steps=1", "train.learning_rate=auto")
    config = load(None, settings)
    run = train_config(config)
    size = sum(parameter.numel() for parameter in run.policy.model.parameters()) if run.policy else 0
    rate = automatic_rate(size, False)
    assert load(tmp_path / "run" / "config.yaml").train.learning_rate == rate
    assert f"train.learning_rate: auto is {rate:g} for 0." in capfd.readouterr().out
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert any(row.get("train/learning_rate") == pytest.approx(rate) for row in rows)
