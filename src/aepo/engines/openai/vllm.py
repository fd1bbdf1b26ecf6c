"""vLLM: /v1/completions with token ids as prompt, `return_token_ids`, and log-probabilities named by id.

{"choices": [{"text": "...", "token_ids": [17, 4], "finish_reason": "stop", "logprobs":
 {"token_logprobs": [-0.4, -1.2], "top_logprobs": [{"token_id:17": -0.4, "token_id:9": -1.8}, {...}]}}]}

Without `return_tokens_as_token_ids`, tokens with the same text would be one entry of `top_logprobs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aepo.engines.openai.client import BadReply, ServerCall
from aepo.engines.openai.dialect import WHOLE, Dialect, GivenUp, Reply, Wanted, checked, ids, logprob

PREFIX = "token_id:"


def request(wanted: Wanted) -> ServerCall:
    """The request, with every setting that a model's generation_config.json could change."""
    body: dict[str, Any] = {
        "model": wanted.model,
        "prompt": list(wanted.prompt),
        "max_tokens": wanted.max_tokens,
        "temperature": 0.0 if wanted.greedy else wanted.temperature,
        **WHOLE,
        "top_k": 0,
        "seed": wanted.seed,
        "stop": list(wanted.stop.strings),
        "stop_token_ids": sorted(wanted.stop.tokens),
        "ignore_eos": True,
        "skip_special_tokens": False,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
    }
    return ServerCall("/v1/completions", body if wanted.top is None else body | {"logprobs": wanted.top})


def parse(data: Any, wanted: Wanted) -> Reply:
    """Read a completion.

    Raises:
        BadReply: It has no ids, or lacks requested log-probabilities.
        GivenUp: It was aborted.
    """
    try:
        choice = data["choices"][0]
        if choice.get("finish_reason") == "abort":
            raise GivenUp("the server gave up")
        tokens = ids(choice.get("token_ids"))
        if wanted.top is None:
            return Reply(tokens, [], [])
        said = choice["logprobs"]
        logprobs = [logprob(value) for value in said["token_logprobs"]]
        top = [_likeliest(entry) for entry in said["top_logprobs"]] if wanted.top else []
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise BadReply(f"not a completion with token ids and log-probabilities ({error!r})") from None
    return checked(Reply(tokens, logprobs, top), wanted)


def _likeliest(entry: Mapping[str, Any]) -> dict[int, float]:
    if not all(name.startswith(PREFIX) and name[len(PREFIX) :].isdecimal() for name in entry):
        raise BadReply("log-probabilities are not named by token id")
    return {int(name[len(PREFIX) :]): logprob(value) for name, value in entry.items()}


VLLM = Dialect(
    name="vLLM",
    owner="vllm",
    request=request,
    parse=parse,
    tempered="with --logprobs-mode processed_logprobs",
)
