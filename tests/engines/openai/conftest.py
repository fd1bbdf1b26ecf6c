"""A server for every dialect, with the tiny model behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from aepo.engines.openai.client import Endpoint
from aepo.engines.openai.policy import ServerPolicy, connect
from tests.engines.openai.server import ModelServer, serving

Serve = Callable[..., ModelServer]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests to loopback must not go through a proxy that the environment names."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("AEPO_MODEL_KEY", raising=False)


@pytest.fixture
def serve(loaded: Any) -> Iterator[Serve]:
    """Start servers that end with the test."""
    with ExitStack() as stack:

        def start(kind: str = "vllm", **settings: Any) -> ModelServer:
            return stack.enter_context(serving(ModelServer(kind, loaded.model, loaded.tokenizer, **settings)))

        yield start


@pytest.fixture
def waits() -> list[float]:
    """Seconds that were to be waited between tries."""
    return []


@pytest.fixture
def link(model_folder: Path, waits: list[float]) -> Callable[[ModelServer], ServerPolicy]:
    """The policy of a server; no time passes between tries."""

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    def policy(server: ModelServer) -> ServerPolicy:
        return connect(Endpoint(server.url, timeout=20, sleep=sleep), None, str(model_folder))

    return policy
