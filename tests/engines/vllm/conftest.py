"""Runs with `vllm.url` on a server that this process serves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from aepo.config import Config, load
from tests import tiny
from tests.engines.openai.server import serving
from tests.engines.vllm.fake import FakeVllm

Serve = Callable[..., FakeVllm]
Settings = Callable[..., Config]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests to loopback must not go through a proxy that the environment names."""
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def serve(loaded: Any) -> Iterator[Serve]:
    """Start servers that end with the test."""
    with ExitStack() as stack:
        yield lambda **how: stack.enter_context(serving(FakeVllm("vllm", loaded.model, loaded.tokenizer, **how)))


@pytest.fixture
def settings(tmp_path: Path, model_folder: Path) -> Settings:
    """A run of two steps that a server samples for."""

    def made(server: FakeVllm, *overrides: str) -> Config:
        common = ["engine=vllm", f"vllm.url={server.url}", "rollout.deterministic=false", "train.steps=2"]
        return load(None, [*tiny.settings(tmp_path / "run", model_folder), *common, *overrides])

    return made
