"""Sequences over a server that only draws tokens: turns end where ours do, forks share what they were forked from."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from aepo.engines.stopping import Stopping, vocabulary_texts
from aepo.engines.verl.generator import ServedGenerator
from aepo.rollout.generator import Stop
from tests.engines.conftest import VOCABULARY, make_tokenizer

A, B, CLOSE, X, END = 2, 3, 5, 6, 11


class Client:
    """Answers requests from a list, and keeps what it was asked."""

    def __init__(self, *replies: list[int], estimator: str = "sampled", **extra: Any) -> None:
        self.replies, self.extra, self.asked = list(replies), extra, []
        self.estimator = estimator

    async def generate(self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]) -> Any:
        self.asked.append((request_id, prompt_ids, sampling_params))
        tokens = self.replies.pop(0)
        logprobs = [-0.5 * (i + 1) for i in range(len(tokens))]
        return SimpleNamespace(
            token_ids=tokens,
            log_probs=logprobs,
            stop_reason="completed",
            extra_fields={"global_steps": 3, **self.extra},
        )


def over(client: Client, stop: Stop) -> ServedGenerator:
    tokenizer = make_tokenizer(VOCABULARY)
    stopping = Stopping(stop, tokenizer, vocabulary_texts(tokenizer))
    return ServedGenerator(client, {"temperature": 0.7}, lambda _: stopping)


def sample(generator: ServedGenerator, sequence: Any, count: int, stop: Stop) -> Any:
    return anyio.run(generator.sample, sequence, count, stop)


def test_a_request_has_all_tokens_so_far_and_the_turns_stop():
    stop = Stop(frozenset({END}))
    client = Client([A, END])
    generator = over(client, stop)
    sequence = generator.open([A, B], noise=1)
    found = sample(generator, sequence, 10, stop)
    assert (found.tokens, found.logprobs, found.stopped) == ([A, END], [-0.5, -1.0], True)
    assert sequence.tokens == [A, B, A, END]
    [(_, prompt, asked)] = client.asked
    assert prompt == [A, B]
    assert asked == {"temperature": 0.7, "max_tokens": 10, "logprobs": True, "stop_token_ids": [END]}


def test_a_stop_string_that_began_in_an_earlier_request_ends_the_turn_and_what_follows_is_dropped():
    stop = Stop(strings=("</x>",))
    # "</x>" is spelled "</", "x", ">".
    client = Client([A, CLOSE], [X, 7, A, A])
    generator = over(client, stop)
    sequence = generator.open([A], noise=1)
    first = sample(generator, sequence, 2, stop)
    assert not first.stopped
    second = sample(generator, sequence, 10, stop)
    assert (second.tokens, second.stopped) == ([X, 7], True)
    assert sequence.tokens == [A, A, CLOSE, X, 7]
    assert client.asked[1][2]["include_stop_str_in_output"] is True


def test_a_tools_result_begins_a_turn_so_that_its_own_text_ends_none():
    stop = Stop(strings=("</x>",))
    client = Client([A], [7, B])
    generator = over(client, stop)
    sequence = generator.open([A], noise=1)
    sample(generator, sequence, 1, stop)
    generator.extend(sequence, [CLOSE, X])
    assert sample(generator, sequence, 2, stop).tokens == [7, B]


def test_a_fork_inside_a_turn_goes_on_with_it_and_both_are_asked_of_the_same_server():
    stop = Stop(strings=("</x>",))
    client = Client([CLOSE, X, A], [7, A])
    generator = over(client, stop)
    sequence = generator.open([A], noise=1)
    sample(generator, sequence, 3, stop)
    fork = generator.fork(sequence, 3, noise=2)
    assert sample(generator, fork, 2, stop).tokens == [7]
    assert sequence.tokens == [A, CLOSE, X, A]
    assert client.asked[0][0] == client.asked[1][0]


def test_entropies_are_the_servers_where_it_has_them():
    generator = over(Client([A, B], estimator="topk", entropies=[0.25, 0.75]), Stop())
    found = sample(generator, generator.open([A], 1), 2, Stop())
    assert (found.entropies, generator.entropy_estimator) == ([0.25, 0.75], "topk")
    assert found.version == 3


def test_a_server_that_ends_a_turn_for_a_reason_of_its_own_is_asked_again():
    generator = over(Client([A], [B, X]), Stop())
    sequence = generator.open([A], 1)
    assert sample(generator, sequence, 3, Stop()).tokens == [A, B, X]
    assert [prompt for _, prompt, _ in generator.client.asked] == [[A], [A, A]]


def test_entropies_that_were_promised_and_are_missing_stop_the_question():
    generator = over(Client([A, B], estimator="topk"), Stop())
    with pytest.raises(RuntimeError, match="gave no entropies"):
        sample(generator, generator.open([A], 1), 2, Stop())


@pytest.mark.parametrize("extra", [{}, {"entropies": [0.25, 0.75]}], ids=["none", "unwanted"])
def test_entropies_are_minus_the_log_probability_where_nothing_better_was_chosen(extra: dict[str, Any]):
    generator = over(Client([A, B], **extra), Stop())
    found = sample(generator, generator.open([A], 1), 2, Stop())
    assert (found.entropies, generator.entropy_estimator) == ([0.5, 1.0], "sampled")


def test_a_server_that_gives_nothing_stops_the_question():
    generator = over(Client([]), Stop())
    with pytest.raises(RuntimeError, match="gave no tokens"):
        sample(generator, generator.open([A], 1), 2, Stop())
