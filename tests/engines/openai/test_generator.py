"""What comes back from a server is what the model behind it gives, in every dialect, and is cut as a turn ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import anyio
import pytest
import torch

from aepo.core.entropy import token_entropy, topk_entropy
from aepo.core.noise import noise_key
from aepo.engines.local import GeneratorSettings, LocalGenerator
from aepo.engines.openai.client import ServerRefusal
from aepo.engines.openai.policy import ServerPolicy
from aepo.engines.stopping import decode
from aepo.rollout.generator import Sampled, Stop
from tests.engines.openai.conftest import Serve
from tests.engines.openai.server import ModelServer

KINDS = ["vllm", "sglang", "llamacpp"]
FREE = Stop()
Link = Callable[[ModelServer], ServerPolicy]


def prompt(policy: ServerPolicy) -> list[int]:
    return list(policy.tokenizer.encode("<|user|>ab<|assistant|>"))


def logits_of(loaded: Any, tokens: list[int], start: int) -> torch.Tensor:
    with torch.no_grad():
        return loaded.model(torch.tensor([tokens])).logits[0, start - 1 : -1, : len(loaded.tokenizer)].double()


async def one(
    policy: ServerPolicy, count: int, stop: Stop = FREE, noise: int = 1, **settings: Any
) -> tuple[Any, Sampled]:
    options = {"temperature": 1.0, "max_sequences": 4, "max_length": 400, **settings}
    async with policy.generator(GeneratorSettings(**options)) as engine:
        sequence = engine.open(prompt(policy), noise)
        return sequence, await engine.sample(sequence, count, stop)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_tokens_logprobs_and_entropies_are_those_of_the_model(
    kind: str, temperature: float, serve: Serve, link: Link, loaded: Any
) -> None:
    policy = link(serve(kind))
    sequence, sampled = anyio.run(lambda: one(policy, 30, temperature=temperature))
    start = len(prompt(policy))
    assert sampled.tokens == sequence.tokens[start:] and len(sampled.tokens) == 30 and not sampled.stopped
    logits = logits_of(loaded, sequence.tokens, start)
    logp = torch.log_softmax(logits / temperature, -1)
    assert torch.tensor(sampled.logprobs).numpy() == pytest.approx(
        logp.gather(1, torch.tensor(sampled.tokens)[:, None])[:, 0].numpy(), abs=1e-5
    )
    bound = topk_entropy(logp.topk(20).values)
    assert sampled.entropies == pytest.approx(bound.tolist(), abs=1e-5)
    # What is missing is the spread of the rest of the probability over the other tokens.
    missing = token_entropy(logits, temperature) - torch.tensor(sampled.entropies)
    rest = 1 - logp.topk(20).values.exp().sum(-1)
    assert (missing > -1e-5).all() and (missing <= rest * math.log(logp.shape[-1] - 20) + 1e-5).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_likeliest_tokens_are_those_of_the_engine_in_this_process(
    kind: str, serve: Serve, link: Link, loaded: Any
) -> None:
    policy = link(serve(kind))
    _, remote = anyio.run(lambda: one(policy, 30, greedy=True))

    async def local() -> Sampled:
        async with LocalGenerator(
            loaded.model, loaded.tokenizer, GeneratorSettings(greedy=True, max_length=400)
        ) as engine:
            return await engine.sample(engine.open(prompt(policy), 1), 30, FREE)

    here = anyio.run(local)
    assert remote.tokens == here.tokens
    assert remote.logprobs == pytest.approx(here.logprobs, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_keys_draw_equal_tokens_and_forks_go_on_from_where_they_are(kind: str, serve: Serve, link: Link) -> None:
    server = serve(kind)
    policy = link(server)

    async def main() -> None:
        async with policy.generator(GeneratorSettings(temperature=1.0, max_sequences=4, max_length=400)) as engine:
            first = engine.open(prompt(policy), 5)
            again = engine.fork(first, first.length, 5)
            other = engine.fork(first, first.length, 6)
            turns = [(await engine.sample(s, 20, FREE)).tokens for s in (first, again, other)]
            assert turns[0] == turns[1] != turns[2]
            branch = engine.fork(first, first.length - 8, noise_key("branch"))
            assert branch.tokens == first.tokens[:-8]
            server.asked.clear()
            await engine.sample(branch, 3, FREE)
            (body,) = server.requests()
            assert body.get("prompt", body.get("input_ids")) == first.tokens[:-8]

    anyio.run(main)


@pytest.mark.parametrize("kind", KINDS)
def test_a_turn_ends_where_the_local_engine_ends_it(kind: str, serve: Serve, link: Link) -> None:
    policy = link(serve(kind))
    stop = Stop(frozenset({policy.tokenizer.eos_token_id}), ("</search>", "</answer>"))
    ended = 0
    for noise in range(6):
        sequence, sampled = anyio.run(lambda noise=noise: one(policy, 40, stop, noise))
        turn = sequence.tokens[len(prompt(policy)) :]
        whole, before = decode(policy.tokenizer, turn), decode(policy.tokenizer, turn[:-1])
        met = turn[-1] in stop.tokens or any(s in whole for s in stop.strings)
        assert sampled.stopped == met
        assert not any(s in before for s in stop.strings) and not stop.tokens & set(turn[:-1])
        assert len(sampled.logprobs) == len(sampled.entropies) == len(turn)
        ended += sampled.stopped
    assert ended > 2


def test_a_stop_string_that_two_requests_share_is_seen_and_the_surplus_dropped(serve: Serve, link: Link) -> None:
    """The server looks only at what it has just written."""
    policy = link(serve())

    async def main() -> None:
        async with policy.generator(GeneratorSettings(temperature=1.0, max_sequences=4, max_length=400)) as engine:

            async def turn(stop: Stop) -> Sampled:
                sequence = engine.open(prompt(policy), 3)
                await engine.sample(sequence, 5, FREE)
                return await engine.sample(sequence, 20, stop)

            late = await turn(FREE)
            first = engine.open(prompt(policy), 3)
            early = await engine.sample(first, 5, FREE)
            border = decode(policy.tokenizer, [early.tokens[-1], *late.tokens[:2]])
            cut = await turn(Stop(strings=(border,)))
            assert cut.stopped and cut.tokens == late.tokens[:2]
            assert len(cut.logprobs) == len(cut.entropies) == 2

    anyio.run(main)


def test_a_string_inside_a_token_ends_the_turn_with_the_whole_token(serve: Serve, link: Link) -> None:
    """What begins and ends a call is one token here."""
    policy = link(serve())
    _, sampled = anyio.run(lambda: one(policy, 100, Stop(strings=("sear",))))
    assert sampled.stopped and decode(policy.tokenizer, sampled.tokens[-1:]) in ("<search>", "</search>")


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_stops_for_a_reason_of_its_own_is_asked_again(kind: str, serve: Serve, link: Link) -> None:
    """SGLang and llama.cpp end at the model's own end tokens, whatever they are told."""
    server = serve(kind)
    policy = link(server)
    server.ends = frozenset(policy.tokenizer.encode("</search></answer>"))
    server.asked.clear()
    _, sampled = anyio.run(lambda: one(policy, 40))
    assert len(sampled.tokens) == 40 and not sampled.stopped
    assert len(server.requests()) > 1


def test_requests_switch_off_what_a_models_own_settings_would_switch_on(serve: Serve, link: Link) -> None:
    server = serve()
    policy = link(server)
    server.asked.clear()
    anyio.run(lambda: one(policy, 2, Stop(frozenset({1, 7}), ("x",))))
    (body,) = server.requests()
    assert (body["top_p"], body["top_k"], body["min_p"], body["repetition_penalty"]) == (1.0, 0, 0.0, 1.0)
    assert (body["stop_token_ids"], body["stop"], body["ignore_eos"]) == ([1, 7], ["x"], True)
    assert 0 <= body["seed"] < 2**31


def test_llama_cpp_is_asked_in_pieces_without_stop_strings_while_probabilities_are_wanted(
    serve: Serve, link: Link
) -> None:
    server = serve("llamacpp")
    policy = link(server)
    server.asked.clear()
    anyio.run(lambda: one(policy, 150, Stop(strings=("never",))))
    assert [body["n_predict"] for body in server.requests()] == [64, 64, 22]
    assert all(body["stop"] == [] and body["samplers"] == ["temperature"] for body in server.requests())
    server.asked.clear()
    anyio.run(lambda: one(policy, 150, Stop(strings=("never",)), greedy=True, temperature=0.7))
    assert [(body["n_predict"], body["stop"]) for body in server.requests()][:1] == [(150, ["never"])]


@pytest.mark.parametrize(
    ("settings", "estimator"),
    [({"most": 20}, "topk"), ({"most": 5}, "topk"), ({"most": 0}, "sampled"), ({"most": None}, "none")],
)
def test_the_entropy_estimator_is_named_by_what_the_server_tells(
    settings: dict[str, Any], estimator: str, serve: Serve, link: Link
) -> None:
    policy = link(serve(**settings))
    engine = policy.generator(GeneratorSettings(temperature=1.0, max_sequences=4, max_length=400))
    assert engine.entropy_estimator == estimator
    _, sampled = anyio.run(lambda: one(policy, 10))
    if estimator == "none":
        assert sampled.logprobs == sampled.entropies == []
    elif estimator == "sampled":
        assert sampled.entropies == [-lp for lp in sampled.logprobs]
    assert len(sampled.tokens) == 10


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_log_probabilities_from_before_the_temperature_are_used_at_temperature_one_only(
    kind: str, serve: Serve, link: Link, caplog: pytest.LogCaptureFixture
) -> None:
    policy = link(serve(kind, raw=True))
    limits = {"max_sequences": 4, "max_length": 400}
    assert not policy.served.tempered and link(serve(kind)).served.tempered
    assert policy.generator(GeneratorSettings(temperature=1.0, **limits)).entropy_estimator == "topk"
    assert not caplog.records
    assert policy.generator(GeneratorSettings(temperature=0.7, **limits)).entropy_estimator == "none"
    assert policy.served.dialect.tempered in caplog.text
    with pytest.raises(ValueError, match=r"reference needs the ten likeliest tokens at temperature 0\.7"):
        policy.generator(GeneratorSettings(temperature=0.7, reference_entropy=True, **limits))


def test_reference_entropies_sum_the_ten_likeliest(serve: Serve, link: Link, loaded: Any) -> None:
    policy = link(serve())
    sequence, sampled = anyio.run(lambda: one(policy, 12, reference_entropy=True))
    logp = torch.log_softmax(logits_of(loaded, sequence.tokens, len(prompt(policy))), -1).topk(10).values
    assert sampled.reference_entropies == pytest.approx((-logp.exp() * logp).sum(-1).tolist(), abs=1e-5)


def test_the_likeliest_tokens_are_asked_for_only_where_entropies_are_read(serve: Serve, link: Link) -> None:
    server = serve()
    policy = link(server)
    server.asked.clear()
    _, short = anyio.run(lambda: one(policy, 8, entropies_within=8))
    _, long = anyio.run(lambda: one(policy, 9, entropies_within=8))
    assert [body["logprobs"] for body in server.requests()] == [20, 0]
    assert short.entropies != [-lp for lp in short.logprobs] and long.entropies == [-lp for lp in long.logprobs]


def test_limits_are_told_before_anything_is_asked(serve: Serve, link: Link) -> None:
    policy = link(serve(context=50))
    with pytest.raises(ValueError, match=r"may have 51 tokens, but server http.* holds 50: lower rollout\.max"):
        policy.generator(GeneratorSettings(temperature=1.0, max_sequences=4, max_length=51))
    with pytest.raises(ValueError, match=r"rollout\.deterministic cannot be promised for a server"):
        policy.generator(GeneratorSettings(temperature=1.0, max_sequences=4, max_length=50, deterministic=True))
    with pytest.raises(ValueError, match="temperature is 0"):
        policy.generator(GeneratorSettings(temperature=0, max_sequences=4, max_length=50))


def test_a_context_that_only_the_server_knows_is_told_in_its_words(serve: Serve, link: Link) -> None:
    server = serve("llamacpp")
    policy = link(server)
    server.context = 3
    with pytest.raises(ServerRefusal, match=r"HTTP 400\): This model's maximum context length is 3 tokens"):
        anyio.run(lambda: one(policy, 30))


def test_sequences_are_used_as_the_protocol_says(serve: Serve, link: Link) -> None:
    policy = link(serve())
    engine = policy.generator(GeneratorSettings(temperature=1.0, max_sequences=2, max_length=30))

    async def main() -> None:
        with pytest.raises(RuntimeError, match="not running"):
            await engine.sample(engine.open([3], 0), 5, FREE)
        async with engine:
            with pytest.raises(RuntimeError, match="already entered"):
                await engine.__aenter__()
            with pytest.raises(ValueError, match="at least one"):
                engine.open([], 0)
            with pytest.raises(ValueError, match="the prompt has 31 tokens, but max_length is 30"):
                engine.open([3] * 31, 0)
            sequence = engine.open([3] * 28, 0)
            with pytest.raises(RuntimeError, match="2 sequences grow"):
                engine.fork(sequence, 5, 1)
            assert len((await engine.sample(sequence, 99, FREE)).tokens) == 2
            assert (await engine.sample(sequence, 5, FREE)).tokens == []
            engine.end(sequence)
            engine.end(sequence)
            with pytest.raises(RuntimeError, match="ended cannot be sampled"):
                await engine.sample(sequence, 1, FREE)
            with pytest.raises(ValueError, match="cannot fork after 31 tokens of a sequence of 30"):
                engine.fork(sequence, 31, 1)
            engine.close(sequence)
            engine.close(sequence)
            with pytest.raises(RuntimeError, match="a closed sequence cannot be forked"):
                engine.fork(sequence, 1, 1)

    anyio.run(main)


def test_a_pause_holds_requests_back(serve: Serve, link: Link) -> None:
    server = serve()
    policy = link(server)

    async def main() -> None:
        async with policy.generator(GeneratorSettings(temperature=1.0, max_sequences=2, max_length=60)) as engine:
            sequence = engine.open(prompt(policy), 0)
            engine.pause()
            server.asked.clear()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(engine.sample, sequence, 3, FREE)
                await anyio.wait_all_tasks_blocked()
                assert not server.asked
                engine.resume()
            assert sequence.length == len(prompt(policy)) + 3

    anyio.run(main)
