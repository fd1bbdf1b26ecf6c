"""What the tests of TRL's trainer share; all of them are skipped where trl is not installed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Said once in the docs; a test that prints it teaches nobody.
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


@pytest.fixture
def arguments(tmp_path: Path) -> Callable[..., Any]:
    """A `GRPOConfig` that fits `tests.tiny`, with changes."""
    trl = pytest.importorskip("trl")

    def make(**changes: Any) -> Any:
        settings: dict[str, Any] = {
            "output_dir": str(tmp_path / "out"),
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,
            "num_generations": 6,
            "max_completion_length": 40,
            "per_device_train_batch_size": 6,
            "gradient_accumulation_steps": 2,
            "max_steps": 2,
            "learning_rate": 2e-3,
            "logging_steps": 1,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
        }
        return trl.GRPOConfig(**{**settings, **changes})

    return make
