from __future__ import annotations

import random
from dataclasses import replace

import anyio
import numpy as np
import pytest
import torch

from aepo.core.entropy import token_entropy
from aepo.core.noise import noise_key
from aepo.engines.local import GeneratorSettings, LocalGenerator
from aepo.rollout.generator import Sampled, Stop

FREE = Stop()
VOCABULARY = 96


def prompt(index: int, length: int) -> list[int]:
    return [int(t) for t in np.random.default_rng(index).integers(0, VOCABULARY, length)]


async def gather(*calls) -> list:
    results: list = [None] * len(calls)

    async def one(i, call):
        results[i] = await call

    async with anyio.create_task_group() as group:
        for i, call in enumerate(calls):
            group.start_soon(one, i, call)
    return results


def check(model, tokens: list[int], start: int, sampled: Sampled, temperature: float = 1.0) -> None:
    """Log-probabilities and entropies of tokens[start:] equal those of one full forward pass."""
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0, start - 1 : -1].double()
    logp = torch.log_softmax(logits / temperature, -1).gather(1, torch.tensor(tokens[start:])[:, None])[:, 0]
    assert len(sampled.logprobs) == len(tokens) - start
    assert np.allclose(sampled.logprobs, logp.numpy(), atol=1e-4)
    assert np.allclose(sampled.entropies, token_entropy(logits, temperature).numpy(), atol=1e-4)


@pytest.mark.parametrize("architecture", ["llama", "llama-gqa", "qwen2", "qwen3"])
@pytest.mark.parametrize(("kernel", "direct"), [("sdpa", True), ("sdpa", False), ("eager", False)], indirect=["direct"])
def test_rows_of_different_length_equal_a_full_forward_pass(architecture, kernel, direct, tokenizer, build):
    model = build(architecture)
    model.set_attn_implementation(kernel)
    engine = LocalGenerator(model, tokenizer, GeneratorSettings(temperature=0.8))

    async def grow(sequence, turns):
        for given, count in turns:
            if given:
                engine.extend(sequence, given)
            start = sequence.length
            sampled = await engine.sample(sequence, count, FREE)
            check(model, sequence.tokens, start, sampled, 0.8)

    async def run():
        async with engine:
            plans = [
                [([], 3 + 7 * i), (prompt(100 + i, 1 + 9 * i), 40 - 5 * i), (prompt(200 + i, 2), 30)] for i in range(7)
            ]
            opened = [engine.open(prompt(i, 1 + 13 * i), noise_key(i)) for i in range(7)]
            await gather(*(grow(s, p) for s, p in zip(opened, plans, strict=True)))

    anyio.run(run)
    assert model.config._attn_implementation == kernel


@pytest.mark.parametrize(("in_place", "direct"), [(True, True), (True, False), (False, False)], indirect=["direct"])
def test_forks_equal_a_full_forward_pass_and_leave_the_source_as_it_was(model, tokenizer, in_place, direct):
    model._supports_attention_backend = in_place
    engine = LocalGenerator(model, tokenizer)

    async def run(forking: bool):
        async with engine:
            source = engine.open(prompt(0, 70), noise_key("source"))
            await engine.sample(source, 80, FREE)
            before = list(source.tokens)
            if forking:
                for length in (1, 63, 64, 65, 70, 100, 149, 150):
                    branch = engine.fork(source, length, noise_key("branch", length))
                    assert branch.cached == length - 1
                    sampled = await engine.sample(branch, 20, FREE)
                    assert branch.tokens[:length] == before[:length] and branch.length == length + 20
                    check(model, branch.tokens, length, sampled)
                    engine.close(branch)
            assert source.tokens == before
            rest = await engine.sample(source, 20, FREE)
            check(model, source.tokens, 150, rest)
            return rest

    assert np.allclose(anyio.run(run, True).logprobs, anyio.run(run, False).logprobs, atol=1e-5)


@pytest.fixture
def read(model, monkeypatch) -> list[int]:
    """How many tokens each model call of an engine reads."""
    counts: list[int] = []
    embed = model.model.embed_tokens.forward

    def spy(ids):
        # What `check` reads for comparison is read outside of it.
        if torch.is_inference_mode_enabled():
            counts.append(ids.numel())
        return embed(ids)

    monkeypatch.setattr(model.model.embed_tokens, "forward", spy)
    return counts


def test_forks_of_an_unread_prompt_read_it_once(model, tokenizer, read):
    engine = LocalGenerator(model, tokenizer)
    read.clear()

    async def run():
        async with engine:
            first = engine.open(prompt(0, 50), noise_key(0))
            group = [first] + [engine.fork(first, 50, noise_key(i)) for i in range(1, 8)]
            sampled = await gather(*(engine.sample(s, 6, FREE) for s in group))
            for sequence, got in zip(group, sampled, strict=True):
                check(model, sequence.tokens, 50, got)
            assert len({tuple(s.tokens) for s in group}) > 1

    anyio.run(run)
    # The others read the last token of the prompt beside the first one's second.
    assert read == [50] + [8] * 5 + [7]


@pytest.mark.parametrize("closed", [False, True])
def test_what_a_sequence_has_read_is_not_read_again_while_it_is_open(model, tokenizer, read, closed):
    engine = LocalGenerator(model, tokenizer)
    read.clear()

    async def run():
        async with engine:
            early, late = engine.open(prompt(0, 50), 5), engine.open(prompt(0, 50), 5)
            for sequence in (early, late):
                turn = await engine.sample(sequence, 4, FREE)
                engine.extend(sequence, prompt(1, 80))
                rest = await engine.sample(sequence, 30, FREE)
                check(model, sequence.tokens, 50 + 4 + 80, rest)
                check(model, sequence.tokens[:54], 50, turn)
                if closed:
                    engine.close(sequence)
            assert early.tokens == late.tokens

    anyio.run(run)
    # Both read what they sample, but for the last token, which nobody asked to go on from.
    once = (50 + 3) + (1 + 80 + 29)
    again = once if closed else (1 + 3) + (1 + 29)
    assert sum(read) == once + again


def test_a_long_prompt_read_in_chunks_equals_a_full_forward_pass(model, tokenizer):
    engine = LocalGenerator(model, tokenizer, GeneratorSettings(max_length=1024))

    async def run():
        async with engine:
            long, short = engine.open(prompt(0, 900), 1), engine.open(prompt(1, 20), 2)
            a, b = await gather(engine.sample(long, 5, FREE), engine.sample(short, 5, FREE))
            check(model, long.tokens, 900, a)
            check(model, short.tokens, 20, b)

    anyio.run(run)


def test_extending_in_one_go_equals_token_by_token(model, tokenizer):
    engine = LocalGenerator(model, tokenizer)
    given = prompt(5, 30)

    async def run():
        async with engine:
            whole, apart = engine.open(prompt(0, 10), 7), engine.open(prompt(0, 10), 7)
            await gather(engine.sample(whole, 3, FREE), engine.sample(apart, 3, FREE))
            engine.extend(whole, given)
            for token in given:
                engine.extend(apart, [token])
            a, b = await gather(engine.sample(whole, 10, FREE), engine.sample(apart, 10, FREE))
            assert whole.tokens == apart.tokens
            assert np.allclose(a.logprobs, b.logprobs, atol=1e-5)

    anyio.run(run)


def test_the_same_noise_key_gives_the_same_tokens_whatever_else_is_in_the_batch(model, tokenizer):
    engine = LocalGenerator(model, tokenizer)

    async def run(others: int):
        async with engine:
            fill = [engine.open(prompt(50 + i, 5 + 11 * i), noise_key("other", i)) for i in range(others)]
            mine = engine.open(prompt(0, 12), noise_key("mine"))
            got = await gather(
                engine.sample(mine, 60, FREE), *(engine.sample(s, 9 * i, FREE) for i, s in enumerate(fill))
            )
            return got[0]

    alone, among = anyio.run(run, 0), anyio.run(run, 9)
    assert alone.tokens == among.tokens
    assert np.allclose(alone.logprobs, among.logprobs, atol=1e-4)


def test_deterministic_batches_do_not_depend_on_who_answers_first(model, tokenizer):
    engine = LocalGenerator(model, tokenizer, GeneratorSettings(deterministic=True))

    async def pause(delays: random.Random):
        for _ in range(delays.randrange(12)):
            await anyio.lowlevel.checkpoint()

    async def branch(sequence, i: int, delays: random.Random, out: dict):
        await pause(delays)
        out["branch", i] = await engine.sample(sequence, 5, FREE)
        await pause(delays)
        engine.end(sequence)

    async def path(sequence, i: int, delays: random.Random, out: dict, group):
        for turn in range(3):
            out[i, turn] = await engine.sample(sequence, 4 + (5 * i + turn) % 7, FREE)
            await pause(delays)
            if turn == 0 and i % 3 == 0:
                fork = engine.fork(sequence, sequence.length - 2, noise_key("branch", i))
                group.start_soon(branch, fork, i, delays, out)
            engine.extend(sequence, prompt(i * 10 + turn, 3 + i))
        engine.end(sequence)
        await pause(delays)
        engine.close(sequence)

    async def run(seed: int):
        delays = random.Random(seed)
        order = list(range(6))
        delays.shuffle(order)
        out: dict = {}
        async with engine:
            opened = {i: engine.open(prompt(i, 5 + 4 * i), noise_key("path", i)) for i in order}
            with anyio.fail_after(60):
                async with anyio.create_task_group() as group:
                    for i in order:
                        group.start_soon(path, opened[i], i, delays, out, group)
        return out

    first = anyio.run(run, 0)
    assert all(anyio.run(run, seed) == first for seed in (1, 2, 3))


def test_sequences_that_ended_do_not_hold_up_deterministic_mode(model, tokenizer):
    engine = LocalGenerator(model, tokenizer, GeneratorSettings(deterministic=True))

    async def run():
        async with engine:
            opened = [engine.open(prompt(i, 5), i) for i in range(4)]
            for sequence in opened[:3]:
                engine.end(sequence)
            with anyio.fail_after(20):
                sampled = await engine.sample(opened[3], 3, FREE)
            assert len(sampled.tokens) == 3
            engine.end(opened[3])
            branch = engine.fork(opened[0], 4, 9)
            with anyio.fail_after(20):
                assert len((await engine.sample(branch, 3, FREE)).tokens) == 3

    anyio.run(run)


def test_limits_are_refused_with_a_reason(model, tokenizer):
    engine = LocalGenerator(model, tokenizer, GeneratorSettings(max_sequences=2, max_length=20))

    async def run():
        async with engine:
            a, b = engine.open([2, 3], 0), engine.open([2], 1)
            with pytest.raises(RuntimeError, match="2 sequences grow"):
                engine.open([4], 2)
            with pytest.raises(RuntimeError, match="2 sequences grow"):
                engine.fork(a, 1, 2)
            engine.close(b)
            engine.close(b)
            with pytest.raises(ValueError, match=r"21 tokens.*20"):
                engine.open([2] * 21, 2)
            with pytest.raises(ValueError, match=r"22 tokens.*20"):
                engine.extend(a, [2] * 20)
            with pytest.raises(ValueError, match="at least one"):
                engine.open([], 2)
            with pytest.raises(ValueError, match=r"0\.\.95"):
                engine.open([96], 2)
            with pytest.raises(ValueError, match="fork after 3 tokens"):
                engine.fork(a, 3, 2)
            sampled = await engine.sample(a, 100, FREE)
            assert a.length == 20 and not sampled.stopped
            assert (await engine.sample(a, 100, FREE)).tokens == []
            engine.end(a)
            with pytest.raises(RuntimeError, match="ended"):
                await engine.sample(a, 1, FREE)
            with pytest.raises(RuntimeError, match="closed"):
                engine.extend(b, [1])

    anyio.run(run)
    with pytest.raises(RuntimeError, match="async with"):
        anyio.run(engine.sample, engine.open([2], 0), 1, FREE)


def test_a_slot_used_again_shows_nothing_of_the_old_sequence(model, tokenizer):
    engine = LocalGenerator(model, tokenizer, GeneratorSettings(max_sequences=1))

    async def run():
        async with engine:
            old = engine.open(prompt(0, 150), 0)
            await engine.sample(old, 50, FREE)
            engine.close(old)
            new = engine.open(prompt(1, 3), 1)
            sampled = await engine.sample(new, 80, FREE)
            assert new.slot == old.slot
            check(model, new.tokens, 3, sampled)

    anyio.run(run)


@pytest.mark.parametrize(("in_place", "direct"), [(True, True), (True, False), (False, False)], indirect=["direct"])
def test_ended_sequences_need_no_room_and_can_be_forked_even_when_their_slots_are_taken(
    model, tokenizer, in_place, direct, read
):
    model._supports_attention_backend = in_place
    engine = LocalGenerator(model, tokenizer, GeneratorSettings(max_sequences=2))

    async def run():
        async with engine:
            ended = []
            for number in range(4):
                sequence = engine.open(prompt(7, 40), noise_key(number))
                await engine.sample(sequence, 10, FREE)
                engine.extend(sequence, prompt(number, 8))
                check(model, sequence.tokens, 58, await engine.sample(sequence, 6, FREE))
                engine.end(sequence)
                ended.append(sequence)
            assert [sequence.cached > 0 for sequence in ended] == [False, False, True, True]
            # The prompt is in the cache still, as that of another.
            first, second = (engine.fork(ended[0], 58, noise_key("branch", i)) for i in range(2))
            read.clear()
            a, b = await gather(engine.sample(first, 5, FREE), engine.sample(second, 5, FREE))
            check(model, first.tokens, 58, a)
            check(model, second.tokens, 58, b)
            engine.end(first)
            again = engine.fork(first, first.length, noise_key("again"))
            check(model, again.tokens, first.length, await engine.sample(again, 5, FREE))

    anyio.run(run)


def test_what_a_lost_sequence_shares_with_others_is_not_read_again(model, tokenizer, read):
    engine = LocalGenerator(model, tokenizer, GeneratorSettings(max_sequences=2))

    async def run():
        async with engine:
            lost = engine.open(prompt(7, 40), noise_key(0))
            await engine.sample(lost, 1, FREE)
            engine.extend(lost, prompt(1, 8))
            await engine.sample(lost, 1, FREE)
            engine.end(lost)
            other, third = engine.open(prompt(7, 40), noise_key(1)), engine.open([5], noise_key(2))
            assert lost.cached == 0
            await engine.sample(other, 1, FREE)
            engine.end(third)
            branch = engine.fork(lost, 49, noise_key(3))
            read.clear()
            check(model, branch.tokens, 49, await engine.sample(branch, 1, FREE))

    anyio.run(run)
    assert read == [9]


def test_cancelling_a_sample_call_leaves_the_engine_usable(model, tokenizer):
    engine = LocalGenerator(model, tokenizer)

    async def run():
        async with engine:
            kept, dropped = engine.open(prompt(0, 9), 0), engine.open(prompt(1, 30), 1)
            async with anyio.create_task_group() as group:
                group.start_soon(engine.sample, dropped, 500, FREE)
                sampled = await engine.sample(kept, 10, FREE)
                group.cancel_scope.cancel()
            check(model, kept.tokens, 9, sampled)
            start = dropped.length
            assert 30 < start < 530
            check(model, dropped.tokens, start, await engine.sample(dropped, 10, FREE))
            engine.close(dropped)

    anyio.run(run)


@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("direct", [False], indirect=True)
def test_an_error_of_the_model_reaches_every_caller_and_the_next_call_works(model, tokenizer, monkeypatch, at, direct):
    engine = LocalGenerator(model, tokenizer)
    forward, calls = model.model.forward, []

    def failing(*args, **given):
        calls.append(1)
        if len(calls) == at:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")
        return forward(*args, **given)

    async def run():
        async with engine:
            opened = [engine.open(prompt(i, 9), i) for i in range(3)]
            monkeypatch.setattr(model.model, "forward", failing)
            raised = []

            async def one(sequence):
                with pytest.raises(RuntimeError, match=r"full while sampling .* lower rollout\.max_sequences"):
                    await engine.sample(sequence, 9, FREE)
                raised.append(sequence)

            await gather(*(one(s) for s in opened))
            assert len(raised) == 3
            start = opened[0].length
            check(model, opened[0].tokens, start, await engine.sample(opened[0], 5, FREE))

    anyio.run(run)


def test_logits_that_are_nan_are_an_error_not_a_token(model, tokenizer):
    engine = LocalGenerator(model, tokenizer)

    async def run():
        weight = model.lm_head.weight.detach().clone()
        model.lm_head.weight.data.fill_(float("nan"))
        async with engine:
            sequence = engine.open(prompt(0, 9), 0)
            with pytest.raises(FloatingPointError, match="NaN"):
                await engine.sample(sequence, 9, FREE)
            engine.pause()
            model.lm_head.weight.data.copy_(weight)
            engine.resume()
            check(model, sequence.tokens, 9, await engine.sample(sequence, 5, FREE))

    anyio.run(run)


def test_leaving_wakes_who_still_samples_and_restores_the_training_mode(model, tokenizer):
    engine = LocalGenerator(model, tokenizer)
    model.train()

    async def late(sequence):
        with pytest.raises(RuntimeError, match="left"):
            await engine.sample(sequence, 900, FREE)

    async def run():
        async with anyio.create_task_group() as group, engine:
            assert not model.training
            group.start_soon(late, engine.open(prompt(0, 9), 0))
            await anyio.lowlevel.checkpoint()
        assert model.training
        with pytest.raises(KeyError):  # as it is, not inside an exception group
            async with engine:
                raise KeyError

    anyio.run(run)


def test_greedy_takes_the_likeliest_token(model, tokenizer):
    engine = LocalGenerator(model, tokenizer, GeneratorSettings(greedy=True, temperature=0.7, reference_entropy=True))

    async def run():
        async with engine:
            sequence = engine.open(prompt(0, 9), 0)
            sampled = await engine.sample(sequence, 12, FREE)
            check(model, sequence.tokens, 9, sampled, 0.7)
            with torch.no_grad():
                logits = model(torch.tensor([sequence.tokens])).logits[0, 8:-1]
            assert sampled.tokens == logits.argmax(-1).tolist()
            top = torch.log_softmax(logits / 0.7, -1).topk(10, -1).values
            assert np.allclose(sampled.reference_entropies, (-top.exp() * top).sum(-1).numpy(), atol=1e-4)

    anyio.run(run)


def test_ids_that_the_tokenizer_does_not_have_are_never_sampled(model, words):
    engine = LocalGenerator(model, words(20))

    async def run():
        async with engine:
            sequence = engine.open([2], 0)
            sampled = await engine.sample(sequence, 300, FREE)
            assert max(sampled.tokens) < 20
            assert max(sampled.entropies) <= np.log(20) + 1e-6

    anyio.run(run)


def stops(
    model, tokenizer, tokens: list[int], stop: Stop, opened: int = 1, cut: int | None = None, fork: int | None = None
) -> tuple[int, bool]:
    """How many of `tokens` a model that can only say them samples, and whether it stopped.

    With `cut`, that many were sampled by an earlier call; with `fork`, they were by a sequence that was forked there.
    """
    forward = model.forward

    def scripted(**given):
        out = forward(**given)
        wanted = [tokens[min(int(p) - opened + 1, len(tokens) - 1)] for p in given["position_ids"][:, -1]]
        logits = torch.full_like(out.logits[:, -1:], -1e4)
        logits[torch.arange(len(wanted)), 0, torch.tensor(wanted)] = 0.0
        return replace(out, logits=logits)

    # With a bias the logits are the model's own.
    model.lm_head.bias = torch.nn.Parameter(torch.zeros(VOCABULARY))
    engine = LocalGenerator(model, tokenizer)
    model.forward = scripted

    async def run():
        async with engine:
            sequence = engine.open([6] * opened, 0)
            if cut is not None:
                await engine.sample(sequence, cut, FREE)
            if fork is not None:
                await engine.sample(sequence, fork, FREE)
                engine.extend(sequence, [6, 6])
                sequence = engine.fork(sequence, opened + fork, 1)
            sampled = await engine.sample(sequence, len(tokens) - (cut or 0), stop)
            return sequence.length - opened, sampled.stopped

    try:
        return anyio.run(run)
    finally:
        model.forward, model.lm_head.bias = forward, None


@pytest.mark.parametrize(
    ("said", "stop", "expected"),
    [
        (["a", "</s>", "b"], Stop(tokens=frozenset({1})), (2, True)),
        (["a", "b", "c"], Stop(tokens=frozenset({1})), (3, False)),
        (["a", "</", "x", ">", "b"], Stop(strings=("</x>",)), (4, True)),
        (["a", "</x>b", "b"], Stop(strings=("</x>",)), (2, True)),
        (["a</x", ">", "b"], Stop(strings=("</x>",)), (2, True)),
        (["</x", "</x", ">", "b"], Stop(strings=("</x>",)), (3, True)),
        (["x", ">", "a", "é", "b"], Stop(strings=("é", "end")), (4, True)),
        (["a", " ", "b"], Stop(strings=("a ",)), (2, True)),
    ],
)
def test_a_turn_stops_at_ids_and_at_strings(model, tokenizer, said, stop, expected):
    ids = [tokenizer.get_vocab()[word] for word in said]
    # The prompt holds x: what was given never counts for a string.
    assert stops(model, tokenizer, ids, stop) == expected


def test_a_string_begun_in_one_call_ends_the_turn_in_the_next(model, tokenizer):
    ids = [tokenizer.get_vocab()[word] for word in ["a", "</", "x", ">", "b"]]
    assert stops(model, tokenizer, ids, Stop(strings=("</x>",)), cut=2) == (4, True)
    # One that lies wholly in an earlier call does not.
    assert stops(model, tokenizer, ids + ids[:1] + [7, 2], Stop(strings=("</x>",)), cut=5) == (8, False)


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_fork_inside_a_turn_goes_on_with_the_turn(model, tokenizer, at):
    ids = [tokenizer.get_vocab()[word] for word in ["a", "</", "x", ">", "b"]]
    assert stops(model, tokenizer, ids, Stop(strings=("</x>",)), fork=at) == (4, True)


def test_a_fork_right_after_given_tokens_begins_a_turn(model, tokenizer):
    engine = LocalGenerator(model, tokenizer)

    async def run():
        async with engine:
            sequence = engine.open([6, 6], 0)
            await engine.sample(sequence, 3, FREE)
            engine.extend(sequence, [6, 6])
            await engine.sample(sequence, 3, FREE)
            return {length: engine.fork(sequence, length, length).starts[-1] for length in (1, 2, 4, 5, 6, 7, 9)}

    assert anyio.run(run) == {1: 1, 2: 2, 4: 2, 5: 2, 6: 2, 7: 7, 9: 7}


def test_an_empty_stop_string_is_refused(model, tokenizer):
    with pytest.raises(ValueError, match="empty"):
        stops(model, tokenizer, [2], Stop(strings=("",)))


@pytest.mark.parametrize("architecture", ["mistral", "qwen2"])
def test_a_sliding_window_model_is_refused(tokenizer, architecture, build):
    from transformers import AutoModelForCausalLM, MistralConfig

    if architecture == "mistral":
        config = MistralConfig(
            vocab_size=96,
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=2,
            sliding_window=16,
        )
        model = AutoModelForCausalLM.from_config(config)
    else:
        model = build("qwen2", use_sliding_window=True, sliding_window=16, max_window_layers=1)
    with pytest.raises(ValueError, match=r"layer [01] of (mistral|qwen2) is sliding_attention.*full attention only"):
        LocalGenerator(model, tokenizer)


def changed(model) -> None:
    """Other weights, far from the ones before."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.3)


@pytest.mark.parametrize(("in_place", "direct"), [(True, True), (True, False), (False, False)], indirect=["direct"])
def test_after_a_pause_all_that_is_open_is_read_by_the_new_weights(model, tokenizer, in_place, direct):
    model._supports_attention_backend = in_place
    engine = LocalGenerator(model, tokenizer)

    async def run():
        async with engine, anyio.create_task_group() as tasks:
            waiting, ended = (engine.open(prompt(1, 70), noise_key(name)) for name in ("waiting", "ended"))
            before = await engine.sample(waiting, 20, FREE)
            check(model, waiting.tokens, 70, before)
            await engine.sample(ended, 20, FREE)
            engine.end(ended)
            busy, found = engine.open(prompt(2, 9), noise_key("busy")), []

            async def sample() -> None:
                found.append(await engine.sample(busy, 30, FREE))

            tasks.start_soon(sample)
            while busy.length < 20:
                await anyio.lowlevel.checkpoint()
            engine.pause()
            at = busy.length
            assert at < 39
            with torch.no_grad():
                old_logits = model(torch.tensor([busy.tokens])).logits[0, 8:-1].double()
            changed(model)
            # What a tool has answered in the meantime, and a path that begins where another one is.
            engine.extend(waiting, prompt(3, 5))
            inside = engine.fork(ended, 80, noise_key("inside"))
            for _ in range(50):
                await anyio.lowlevel.checkpoint()
            assert busy.length == at and not found, "a model call was made in the pause"
            engine.resume()
            after, begun = await gather(engine.sample(waiting, 20, FREE), engine.sample(inside, 20, FREE))
            check(model, waiting.tokens, 95, after)
            check(model, inside.tokens, 80, begun)
        (whole,) = found
        old = torch.log_softmax(old_logits, -1).gather(1, torch.tensor(busy.tokens[9:at])[:, None])[:, 0]
        assert np.allclose(whole.logprobs[: at - 9], old.numpy(), atol=1e-4)
        late = Sampled(busy.tokens[at:], whole.logprobs[at - 9 :], whole.entropies[at - 9 :], False)
        check(model, busy.tokens, at, late)

    anyio.run(run)


def test_in_a_pause_the_model_can_be_trained_or_used_by_another_engine(model, tokenizer):
    model.train()
    engine, other = LocalGenerator(model, tokenizer), LocalGenerator(model, tokenizer)

    async def run():
        async with engine:
            assert not model.training
            kept = engine.open(prompt(1, 9), noise_key("kept"))
            await engine.sample(kept, 5, FREE)
            engine.pause()
            assert model.training
            async with other:
                sampled = await other.sample(other.open(prompt(1, 9), noise_key("kept")), 5, FREE)
            assert model.training and sampled.tokens == kept.tokens[9:]
            engine.resume()
            assert not model.training
            check(model, kept.tokens, 9, sampled)
            rest = await engine.sample(kept, 5, FREE)
            check(model, kept.tokens, 14, rest)
        assert model.training

    anyio.run(run)


def test_a_turn_that_was_read_again_in_its_middle_is_no_prefix_to_share(model, tokenizer):
    engine = LocalGenerator(model, tokenizer)

    async def run():
        async with engine:
            source = engine.open(prompt(1, 9), noise_key("source"))
            await engine.sample(source, 10, FREE)
            engine.pause()
            engine.resume()
            await engine.sample(source, 10, FREE)
            tokens = source.tokens[:19]
            engine.close(source)
            # Its slot goes to another; one that begins with the same tokens must not take that one's keys for its own.
            other = engine.open(prompt(2, 40), noise_key("other"))
            await engine.sample(other, 5, FREE)
            same = engine.open(tokens, noise_key("same"))
            sampled = await engine.sample(same, 5, FREE)
            check(model, same.tokens, 19, sampled)

    anyio.run(run)
