"""vLLM itself, on a CPU: AEPO_VLLM_PYTHON names the Python of an environment that has it (docs/servers.md)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import anyio
import pytest
import torch

from aepo.config import load
from aepo.core.entropy import topk_entropy
from aepo.engines.openai.client import Endpoint, ServerRefusal
from aepo.engines.openai.policy import ServerPolicy, connect
from aepo.engines.stopping import decode
from aepo.equipment.agents import agents
from aepo.rollout.explorer import Seeds, explore
from aepo.rollout.generator import GeneratorSettings, Sampled, Stop
from aepo.types import Origin
from tests import tiny
from tests.engines.openai.process import running

PYTHON = os.environ.get("AEPO_VLLM_PYTHON", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="AEPO_VLLM_PYTHON names no Python with vLLM"),
]
CONTEXT = 256
FREE = Stop()


def served(folder: Path, log: Path, *options: str) -> AbstractContextManager[str]:
    """A server of the model in `folder`."""
    about = ["--model", str(folder), "--served-model-name", "tiny", "--max-model-len", str(CONTEXT)]
    about += ["--dtype", "float32", "--enforce-eager", *options]
    module = [PYTHON, "-m", "vllm.entrypoints.openai.api_server"]
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    return running(lambda port: [*module, *about, "--host", "127.0.0.1", "--port", str(port)], log, environment)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a head dimension that vLLM has a kernel for."""
    return tiny.save_model(tmp_path_factory.mktemp("vllm") / "model", head_dim=64)


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with served(folder, folder.parent / "vllm.log", "--logprobs-mode", "processed_logprobs") as address:
        yield address


@pytest.fixture
def policy(url: str, folder: Path) -> ServerPolicy:
    return connect(Endpoint(url), None, str(folder))


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    from aepo.engines.local.load import load_policy

    return load_policy(folder, device="cpu").model


def turn(policy: ServerPolicy, count: int, stop: Stop = FREE, noise: int = 1, **settings: Any) -> tuple[Any, Sampled]:
    async def main() -> tuple[Any, Sampled]:
        options = {"temperature": 1.0, "max_sequences": 4, "max_length": 200, **settings}
        async with policy.generator(GeneratorSettings(**options)) as engine:
            sequence = engine.open(policy.tokenizer.encode("<|user|>ab<|assistant|>"), noise)
            return sequence, await engine.sample(sequence, count, stop)

    return anyio.run(main)


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.7}, {"greedy": True}], ids=["1", "0.7", "greedy"])
def test_what_it_tells_is_what_the_model_gives(settings: dict[str, Any], policy: ServerPolicy, model: Any) -> None:
    sequence, sampled = turn(policy, 40, **settings)
    with torch.no_grad():
        logits = model(torch.tensor([sequence.tokens])).logits[0, -41:-1].double()
    logp = torch.log_softmax(logits / settings.get("temperature", 1.0), -1)
    told = logp.gather(1, torch.tensor(sampled.tokens)[:, None])[:, 0]
    assert sampled.logprobs == pytest.approx(told.tolist(), abs=1e-4)
    assert sampled.entropies == pytest.approx(topk_entropy(logp.topk(20).values).tolist(), abs=1e-4)
    if settings.get("greedy"):
        assert sampled.tokens == logits.argmax(-1).tolist()


def test_it_is_known_for_what_it_is(policy: ServerPolicy) -> None:
    served = policy.served
    assert (served.dialect.name, served.context, served.top, served.tempered) == ("vLLM", CONTEXT, 20, True)


def test_it_keeps_to_seeds(policy: ServerPolicy) -> None:
    one, same, other = (turn(policy, 30, noise=noise)[1].tokens for noise in (5, 5, 6))
    assert one == same != other


def test_turns_end_with_the_string_and_not_after_it(policy: ServerPolicy) -> None:
    stop = Stop(frozenset({policy.tokenizer.eos_token_id}), ("</search>", "</answer>"))
    ended = 0
    for noise in range(8):
        _, sampled = turn(policy, 60, stop, noise)
        before = decode(policy.tokenizer, sampled.tokens[:-1])
        assert not any(s in before for s in stop.strings) and len(sampled.logprobs) == len(sampled.tokens)
        ended += sampled.stopped
    assert ended > 4


def test_too_long_a_context_is_one_line_of_its_own_words(policy: ServerPolicy) -> None:
    with pytest.raises(ValueError, match=f"may have {CONTEXT + 1} tokens, but server"):
        policy.generator(GeneratorSettings(temperature=1.0, max_sequences=1, max_length=CONTEXT + 1))

    async def main() -> None:
        async with policy.generator(GeneratorSettings(temperature=1.0, max_sequences=1, max_length=CONTEXT)) as engine:
            engine.max_length = 10 * CONTEXT
            await engine.sample(engine.open([4] * (CONTEXT + 1), 1), 9, FREE)

    with pytest.raises(ServerRefusal, match=r"HTTP 400\): .*context length"):
        anyio.run(main)


def test_a_group_of_aepo_grows(policy: ServerPolicy, url: str, folder: Path) -> None:
    own = tiny.settings(Path("unused"), folder, f"model.path={url}", "rollout.deterministic=false", "algorithm.tau=0")
    config, task = load(None, own), tiny.letters()
    sampler, _ = agents(policy, task, config, task.samples)
    rules = config.algorithm.exploration()
    state = rules.initial_state(len(policy.tokenizer))
    groups = anyio.run(lambda: explore(task.samples[:3], sampler, rules, state, Seeds(0, 1)))
    assert [len(group.tree.leaves) for group in groups] == [6, 6, 6]
    assert any(leaf.origin is Origin.BRANCH for group in groups for leaf in group.tree.leaves)


def test_a_cancelled_request_leaves_it_ready_for_the_next(policy: ServerPolicy) -> None:
    async def main() -> None:
        async with policy.generator(GeneratorSettings(temperature=1.0, max_sequences=2, max_length=200)) as engine:
            sequence = engine.open([4], 1)
            with anyio.move_on_after(0.02):
                await engine.sample(sequence, 190, FREE)
            assert len((await engine.sample(sequence, 3, FREE)).tokens) == 3

    anyio.run(main)


def test_as_it_starts_by_default_it_tells_of_temperature_one_only(folder: Path) -> None:
    with served(folder, folder.parent / "raw.log") as address:
        policy = connect(Endpoint(address), None, str(folder))
        assert policy.served.top == 20 and not policy.served.tempered
        assert turn(policy, 5)[1].entropies
        assert turn(policy, 5, temperature=0.7)[1].entropies == []
