"""What tests of tools share."""

import pytest


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests to loopback must not go through a proxy that the environment names."""
    monkeypatch.setenv("NO_PROXY", "*")
