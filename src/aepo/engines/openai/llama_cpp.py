"""llama.cpp's llama-server: its own /completion, which takes and gives token ids.

{"content": "...", "tokens": [17, 4], "stop_type": "eos", "completion_probabilities":
 [{"id": 17, "prob": 0.67, "top_probs": [{"id": 17, "prob": 0.67}, {"id": 9, "prob": 0.17}]}, ...]}

With stop strings it leaves out the probabilities of the last tokens. So if probabilities are wanted, no stop string is
sent, and tokens are requested in pieces. A token that ends inside a character has no probability; it counts as certain
(ln p = 0), which keeps the entropy a lower bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from aepo.engines.openai.client import BadReply, ServerCall
from aepo.engines.openai.dialect import Dialect, Reply, Wanted, checked, ids, logprob

PIECE = 64


def request(wanted: Wanted) -> ServerCall:
    """The request, with one sampler only, so that only the temperature changes the distribution."""
    body: dict[str, Any] = {
        "model": wanted.model,
        "prompt": list(wanted.prompt),
        "n_predict": wanted.max_tokens,
        "temperature": 0.0 if wanted.greedy else wanted.temperature,
        "samplers": ["temperature"],
        "seed": wanted.seed,
        "stop": list(wanted.stop.strings) if wanted.top is None else [],
        "stream": False,
        "cache_prompt": True,
        "return_tokens": True,
        "response_fields": ["tokens", "completion_probabilities", "truncated"],
    }
    if wanted.top is not None:
        # After greedy sampling, one token would have all the probability.
        body |= {"n_probs": max(1, wanted.top), "post_sampling_probs": not wanted.greedy}
    return ServerCall("/completion", body)


def parse(data: Any, wanted: Wanted) -> Reply:
    """Read a completion.

    Raises:
        BadReply: It has no ids, or lacks requested probabilities.
    """
    try:
        tokens = ids(data["tokens"])
        if wanted.top is None:
            return Reply(tokens, [], [])
        # The field is missing if no token ended a character.
        entries = data.get("completion_probabilities", [])
        logprobs, top, at = [], [], 0
        for token in tokens:
            entry = entries[at] if at < len(entries) and entries[at]["id"] == token else None
            at += entry is not None
            logprobs.append(0.0 if entry is None else _logprob(entry))
            top.append({token: 0.0} if entry is None else _likeliest(entry))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise BadReply(f"not a completion with token ids and probabilities ({error!r})") from None
    if at < len(entries):
        raise BadReply("not the probabilities of the sampled tokens")
    return checked(Reply(tokens, logprobs, top if wanted.top else []), wanted)


def _logprob(entry: Mapping[str, Any]) -> float:
    if "prob" not in entry:
        return logprob(entry["logprob"])
    return logprob(math.log(entry["prob"])) if entry["prob"] > 0 else -math.inf


def _likeliest(entry: Mapping[str, Any]) -> dict[int, float]:
    listed = entry["top_probs"] if "top_probs" in entry else entry["top_logprobs"]
    return {ids([one["id"]])[0]: _logprob(one) for one in listed}


def tokenize(model: str, text: str) -> ServerCall:
    """The request for the ids of a text."""
    return ServerCall("/tokenize", {"content": text, "add_special": False})


def context(model: Mapping[str, Any], props: Mapping[str, Any]) -> int | None:
    """The number of tokens of one slot: `--ctx-size` divided by `--parallel`."""
    settings = props.get("default_generation_settings")
    length = settings.get("n_ctx") if isinstance(settings, dict) else None
    return length if isinstance(length, int) else None


LLAMA_CPP = Dialect(
    name="llama.cpp",
    owner="llamacpp",
    request=request,
    parse=parse,
    tokenize=tokenize,
    context=context,
    piece=PIECE,
    tempered="from a version with post_sampling_probs",
)
