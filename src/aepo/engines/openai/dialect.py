"""The requests and replies that all kinds of servers share; pure functions from and to JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aepo.engines.openai.client import BadReply, ServerCall, ServerError
from aepo.rollout.generator import Stop

WHOLE = {"top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""Settings of vLLM and SGLang that leave the distribution unchanged."""


class GivenUp(ServerError):
    """The server aborted a request, e.g. because its weights change or it shuts down."""


@dataclass(frozen=True)
class Wanted:
    """A request for sampled tokens.

    Attributes:
        model: The server's name of the model.
        prompt: All tokens so far.
        max_tokens: The largest number of new tokens.
        temperature: T; greedy sampling does not use it.
        greedy: Take the likeliest token.
        seed: The seed of this request, 31 bits.
        stop: The condition where the server may stop; the end of the turn is decided here.
        top: The number of likeliest tokens with log-probabilities; 0 for the sampled one only, None for no
            log-probabilities.
    """

    model: str
    prompt: Sequence[int]
    max_tokens: int
    temperature: float = 1.0
    greedy: bool = False
    seed: int = 0
    stop: Stop = field(default_factory=Stop)
    top: int | None = 20


@dataclass(frozen=True)
class Reply:
    """Sampled tokens, the stop token included.

    Attributes:
        tokens: The ids.
        logprobs: ln p of each, as the server computes it; empty if not requested.
        top: For each, the likeliest tokens with their ln p; empty if not requested.
    """

    tokens: list[int]
    logprobs: list[float]
    top: list[dict[int, float]]


def tokenize(model: str, text: str) -> ServerCall:
    """The request for the ids of a text."""
    return ServerCall("/tokenize", {"model": model, "prompt": text, "add_special_tokens": False})


def context(model: Mapping[str, Any], props: Mapping[str, Any]) -> int | None:
    """The longest sequence in tokens, as the server was started."""
    length = model.get("max_model_len")
    return length if isinstance(length, int) else None


@dataclass(frozen=True)
class Dialect:
    """The interface of one kind of server.

    Attributes:
        name: Its name in messages.
        owner: Its value of `owned_by` in /v1/models.
        request: Makes the request for tokens.
        parse: Reads the reply; raises `BadReply` if a requested part is missing, `GivenUp` if it was aborted.
        tempered: How to start such a server so that log-probabilities are those at the sampling temperature.
        tokenize: Makes the request for the ids of a plain text.
        context: Reads the longest sequence in tokens from the model's entry in /v1/models, and from /props if the
            server has it; None if neither has it.
        piece: The largest number of tokens of one request; None for no limit.
    """

    name: str
    owner: str
    request: Callable[[Wanted], ServerCall]
    parse: Callable[[Any, Wanted], Reply]
    tempered: str
    tokenize: Callable[[str, str], ServerCall] = tokenize
    context: Callable[[Mapping[str, Any], Mapping[str, Any]], int | None] = context
    piece: int | None = None


def ids(values: Any) -> list[int]:
    """A list of token ids.

    Raises:
        BadReply: The value is no such list.
    """
    if not isinstance(values, list) or not all(type(v) is int and v >= 0 for v in values):
        raise BadReply("no token ids")
    return values


def logprob(value: Any) -> float:
    """One ln p.

    Raises:
        BadReply: The value is no number.
    """
    if type(value) not in (int, float) or math.isnan(value):
        raise BadReply("no log-probability where one was asked for")
    return min(0.0, float(value))  # rounding may leave 1e-7


def checked(reply: Reply, wanted: Wanted) -> Reply:
    """The same reply.

    Raises:
        BadReply: Log-probabilities were asked for and some are missing.
    """
    count = len(reply.tokens)
    if wanted.top is not None and len(reply.logprobs) != count:
        raise BadReply(f"{len(reply.logprobs)} log-probabilities for {count} tokens")
    if wanted.top and (len(reply.top) != count or not all(reply.top)):
        raise BadReply("not the likeliest tokens of every position")
    return reply
