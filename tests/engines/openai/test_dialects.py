"""Replies as the servers document them."""

from __future__ import annotations

import math

import pytest

from aepo.engines.openai import llama_cpp, sglang, vllm
from aepo.engines.openai.client import BadReply
from aepo.engines.openai.dialect import GivenUp, Wanted
from aepo.engines.openai.entropies import lower_bounds, reference
from aepo.rollout.generator import Stop

PROMPT = [5, 6]


def test_vllm_names_likely_tokens_by_id() -> None:
    data = {
        "choices": [
            {
                "text": "ab",
                "token_ids": [17, 4],
                "finish_reason": "stop",
                "stop_reason": 4,
                "logprobs": {
                    "tokens": ["token_id:17", "token_id:4"],
                    "token_logprobs": [-0.4, -1.2],
                    "top_logprobs": [
                        {"token_id:17": -0.4, "token_id:9": -1.8},
                        {"token_id:9": -0.3, "token_id:4": -1.2},
                    ],
                },
            }
        ]
    }
    reply = vllm.parse(data, Wanted("m", PROMPT, 8, top=2))
    assert (reply.tokens, reply.logprobs) == ([17, 4], [-0.4, -1.2])
    assert reply.top == [{17: -0.4, 9: -1.8}, {9: -0.3, 4: -1.2}]
    assert vllm.parse(data, Wanted("m", PROMPT, 8, top=0)).top == []
    assert vllm.parse(data, Wanted("m", PROMPT, 8, top=None)).logprobs == []
    assert "logprobs" not in (vllm.request(Wanted("m", PROMPT, 8, top=None)).body or {})


def test_sglang_keeps_the_token_that_stopped() -> None:
    data = {
        "text": "ab",
        "output_ids": [17],
        "meta_info": {
            "finish_reason": {"type": "stop", "matched": 4},
            "output_token_logprobs": [[-0.4, 17, None], [-1.2, 4, None]],
            "output_top_logprobs": [[[-0.4, 17, None], [-1.8, 9, None]], [[-0.3, 9, None], [-1.2, 4, None]]],
        },
    }
    reply = sglang.parse(data, Wanted("m", PROMPT, 8, top=2))
    assert (reply.tokens, reply.logprobs) == ([17, 4], [-0.4, -1.2])
    assert reply.top == [{17: -0.4, 9: -1.8}, {9: -0.3, 4: -1.2}]
    aborted = {**data, "meta_info": {"finish_reason": {"type": "abort", "message": "out of memory"}}}
    with pytest.raises(GivenUp, match="gave up: out of memory"):
        sglang.parse(aborted, Wanted("m", PROMPT, 8))
    body = sglang.request(Wanted("m", PROMPT, 8, stop=Stop(frozenset({4}), ("x",)))).body
    assert body is not None and "ignore_eos" not in body["sampling_params"]


def test_llama_cpp_tells_nothing_of_tokens_inside_a_character() -> None:
    """Three tokens make the euro sign; only the last of them has probabilities."""
    data = {
        "tokens": [17, 226, 130, 172, 4],
        "completion_probabilities": [
            {"id": 17, "prob": 0.5, "top_probs": [{"id": 17, "prob": 0.5}, {"id": 9, "prob": 0.25}]},
            {"id": 172, "prob": 1.0, "top_probs": [{"id": 172, "prob": 1.0}]},
            {"id": 4, "prob": 0.125, "top_probs": [{"id": 9, "prob": 0.5}, {"id": 4, "prob": 0.125}]},
        ],
    }
    reply = llama_cpp.parse(data, Wanted("m", PROMPT, 8, top=2))
    assert reply.tokens == [17, 226, 130, 172, 4]
    assert reply.logprobs == pytest.approx([math.log(0.5), 0, 0, 0, math.log(0.125)])
    assert lower_bounds(reply.top, 2)[1:4] == [0.0, 0.0, 0.0]
    assert lower_bounds(reply.top, 2)[0] == pytest.approx(1.5 * math.log(2))  # 1/2, 1/4, the rest 1/4
    assert llama_cpp.parse({"tokens": [226]}, Wanted("m", PROMPT, 8, top=2)).logprobs == [0.0]
    with pytest.raises(BadReply, match="not the probabilities of the sampled tokens"):
        llama_cpp.parse({**data, "tokens": [17, 4]}, Wanted("m", PROMPT, 8, top=2))


def test_llama_cpp_greedy_has_log_probabilities_from_before_the_sampler() -> None:
    body = llama_cpp.request(Wanted("m", PROMPT, 8, greedy=True)).body
    assert body is not None and (body["temperature"], body["post_sampling_probs"]) == (0.0, False)
    data = {
        "tokens": [9],
        "completion_probabilities": [
            {"id": 9, "logprob": -0.5, "top_logprobs": [{"id": 9, "logprob": -0.5}, {"id": 4, "logprob": -1.5}]}
        ],
    }
    assert llama_cpp.parse(data, Wanted("m", PROMPT, 8, greedy=True)).top == [{9: -0.5, 4: -1.5}]


def test_a_sampled_token_that_is_not_among_the_likeliest_leaves_the_bound_as_it_is() -> None:
    half = math.log(0.5)
    top = [{1: half, 2: math.log(0.25)}, {1: half, 2: math.log(0.25), 7: math.log(0.001)}]
    one, other = lower_bounds(top, 2)
    assert one == other == pytest.approx(1.5 * math.log(2))
    assert lower_bounds([], 20) == []
    assert lower_bounds([{1: 0.0, 2: -math.inf}], 20) == [0.0]
    # Exactly known where all tokens are told: four of equal chance.
    assert lower_bounds([dict.fromkeys(range(4), math.log(0.25))], 20) == pytest.approx([2 * math.log(2)])
    assert reference([dict.fromkeys(range(16), math.log(1 / 16))]) == pytest.approx([10 / 16 * math.log(16)])
