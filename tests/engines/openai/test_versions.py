"""A server whose weights change: replies that saw two versions, and whose version a turn has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from aepo.engines.openai.client import Endpoint
from aepo.engines.openai.generator import ServerGenerator
from aepo.engines.openai.probe import Served
from aepo.engines.openai.vllm import VLLM
from aepo.rollout.generator import GeneratorSettings, Sampled, Stop
from tests.engines.openai.conftest import Serve
from tests.engines.openai.server import ModelServer


def drawn(server: ModelServer, tokenizer: Any, told: list[tuple[str, int]]) -> Sampled:
    """A turn, while the served model has each of these names and versions whenever it is asked for."""
    asked: Iterator[Served] = (Served(name, VLLM, 512, 20, tempered=True, version=version) for name, version in told)
    settings = GeneratorSettings(max_sequences=1, max_length=40)
    # The engine asks once when it is made.
    generator = ServerGenerator(Endpoint(server.url, direct=True), lambda: next(asked), tokenizer, settings)

    async def main() -> Sampled:
        async with generator:
            return await generator.sample(generator.open([1, 2, 3], noise=1), 4, Stop())

    return anyio.run(main)


@pytest.mark.parametrize(
    ("versions", "requests", "version"),
    [([0, 0, 0], 1, 0), ([0, 0, 1, 1, 1], 2, 1), ([0, 0, 1, 1, 2, 2, 2], 3, 2)],
    ids=["no hand-over", "one meanwhile", "two"],
)
def test_a_reply_that_saw_two_versions_is_drawn_again(
    serve: Serve, loaded: Any, versions: list[int], requests: int, version: int
):
    server = serve()
    found = drawn(server, loaded.tokenizer, [(server.name, one) for one in versions])
    assert (len(server.requests()), found.version, len(found.tokens)) == (requests, version, 4)


def test_an_adapter_draws_to_the_end_although_there_is_a_newer_one(serve: Serve, loaded: Any):
    server = serve()
    found = drawn(server, loaded.tokenizer, [(server.name, 0), (server.name, 0), ("newer", 1)])
    assert (len(server.requests()), found.version, len(found.tokens)) == (1, 0, 4)
