"""A deterministic run on a device other than a CPU asks PyTorch for deterministic kernels, while it runs."""

from __future__ import annotations

import os

import pytest
import torch

from aepo.training.deterministic import deterministic_kernels


def asked() -> tuple[bool, bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
    )


def test_they_are_asked_for_inside_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = asked()
    with pytest.raises(KeyboardInterrupt), deterministic_kernels(torch.device("cuda")):
        assert asked() == (True, True, False)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        raise KeyboardInterrupt
    assert asked() == before == (False, False, True)


def test_on_a_cpu_nothing_changes() -> None:
    before = asked()
    with deterministic_kernels(torch.device("cpu")):
        assert asked() == before
