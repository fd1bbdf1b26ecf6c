"""SGLang: its own /generate, which takes and gives token ids.

{"text": "...", "output_ids": [17, 4], "meta_info": {"finish_reason": {"type": "stop", "matched": 4},
 "output_token_logprobs": [[-0.4, 17, null], [-1.2, 4, null]],
 "output_top_logprobs": [[[-0.4, 17, null], [-1.8, 9, null]], [...]]}}
"""

from __future__ import annotations

from typing import Any

from aepo.engines.openai.client import BadReply, ServerCall
from aepo.engines.openai.dialect import WHOLE, Dialect, GivenUp, Reply, Wanted, checked, ids, logprob


def request(wanted: Wanted) -> ServerCall:
    """The request. `ignore_eos` is not sent, because it would also switch off `stop_token_ids`."""
    parameters = {
        "max_new_tokens": wanted.max_tokens,
        "temperature": 0.0 if wanted.greedy else wanted.temperature,
        **WHOLE,
        "top_k": -1,
        # It has an effect only under --enable-deterministic-inference.
        "sampling_seed": wanted.seed,
        "stop": list(wanted.stop.strings),
        "stop_token_ids": sorted(wanted.stop.tokens),
        "no_stop_trim": True,
        "skip_special_tokens": False,
    }
    body: dict[str, Any] = {"input_ids": list(wanted.prompt), "sampling_params": parameters, "stream": False}
    if wanted.top is not None:
        body |= {"return_logprob": True, "logprob_start_len": -1, "top_logprobs_num": wanted.top}
    return ServerCall("/generate", body)


def parse(data: Any, wanted: Wanted) -> Reply:
    """Read a generation.

    Raises:
        BadReply: It has no ids, or lacks requested log-probabilities.
        GivenUp: It was aborted.
    """
    try:
        about = data["meta_info"]
        reason = about.get("finish_reason") or {}
        if reason.get("type") == "abort":
            raise GivenUp(f"the server gave up: {reason.get('message')}")
        if wanted.top is None:
            return Reply(ids(data["output_ids"]), [], [])
        # `output_ids` may lack the stop token, but every sampled token has a log-probability.
        sampled = about["output_token_logprobs"]
        tokens = ids([entry[1] for entry in sampled])
        logprobs = [logprob(entry[0]) for entry in sampled]
        listed = about["output_top_logprobs"] if wanted.top else []
        top = [{ids([entry[1]])[0]: logprob(entry[0]) for entry in entries} for entries in listed]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise BadReply(f"not a generation with token ids and log-probabilities ({error!r})") from None
    return checked(Reply(tokens, logprobs, top), wanted)


SGLANG = Dialect(
    name="SGLang",
    owner="sglang",
    request=request,
    parse=parse,
    tempered="without SGLANG_RETURN_ORIGINAL_LOGPROB",
)
