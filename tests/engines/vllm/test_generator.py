"""Replies that saw two versions of the weights, and whose version a turn has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from aepo.engines.openai.client import Endpoint
from aepo.engines.openai.probe import Served
from aepo.engines.openai.vllm import VLLM
from aepo.engines.vllm.generator import VllmGenerator
from aepo.rollout.generator import GeneratorSettings, Sampled, Stop
from tests.engines.vllm.conftest import Serve
from tests.engines.vllm.fake import FakeVllm


def drawn(server: FakeVllm, tokenizer: Any, versions: list[int], in_place: bool) -> Sampled:
    """A turn, while the sampler's version is each of these whenever it is asked for."""
    asked: Iterator[int] = iter(versions)
    served = Served("policy", VLLM, 512, 20, tempered=True)
    settings = GeneratorSettings(max_sequences=1, max_length=40)
    # The engine asks once when it is made.
    generator = VllmGenerator(
        Endpoint(server.url, direct=True), lambda: (served, next(asked)), in_place, tokenizer, settings
    )

    async def main() -> Sampled:
        async with generator:
            return await generator.sample(generator.open([1, 2, 3], noise=1), 4, Stop())

    return anyio.run(main)


@pytest.mark.parametrize(
    ("versions", "in_place", "requests", "version"),
    [
        ([0, 0, 0], True, 1, 0),
        ([0, 0, 1, 1, 1], True, 2, 1),
        ([0, 0, 1, 1, 2, 2, 2], True, 3, 2),
        ([0, 0], False, 1, 0),
    ],
    ids=["no hand-over", "one meanwhile", "two", "an adapter, which keeps its weights"],
)
def test_a_reply_that_saw_two_versions_is_drawn_again(
    serve: Serve, loaded: Any, versions: list[int], in_place: bool, requests: int, version: int
):
    server = serve()
    found = drawn(server, loaded.tokenizer, versions, in_place)
    assert (len(server.requests()), found.version, len(found.tokens)) == (requests, version, 4)
