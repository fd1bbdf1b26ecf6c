"""What is asked of a server and what it answers, whatever its dialect: pure functions from and to JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aepo.engines.openai.client import BadReply, Call
from aepo.rollout.generator import Stop

WHOLE = {"top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
"""Settings that leave the distribution as it is, by the names that vLLM and SGLang share."""


class GivenUp(BadReply):
    """The server ended a request before it was done, as it does when its weights are changed or it is shut down."""


@dataclass(frozen=True)
class Wanted:
    """Tokens that a server is to sample.

    Attributes:
        model: As the server names it.
        prompt: All tokens so far.
        max_tokens: At most so many more.
        temperature: T; of the likeliest tokens' sampling it is not used.
        greedy: Take the likeliest token.
        seed: Of this request, 31 bits.
        stop: Where the server may stop; whether the turn has ended is decided here.
        top: How many of the likeliest tokens come with their log-probabilities; 0 for the sampled one only, None for no
            log-probabilities at all.
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
    """Sampled tokens, those that met a stop condition included.

    Attributes:
        tokens: Ids.
        logprobs: ln p of each, as the server counts it; empty if none were asked for.
        top: For each the likeliest tokens with their ln p; empty unless asked for.
    """

    tokens: list[int]
    logprobs: list[float]
    top: list[dict[int, float]]


def tokenize(model: str, text: str) -> Call:
    """Ask for the ids of a text."""
    return Call("/tokenize", {"model": model, "prompt": text, "add_special_tokens": False})


def context(model: Mapping[str, Any], props: Mapping[str, Any]) -> int | None:
    """The length that the server was started with."""
    length = model.get("max_model_len")
    return length if isinstance(length, int) else None


@dataclass(frozen=True)
class Dialect:
    """How one kind of server is spoken to.

    Attributes:
        name: For people.
        owner: What such a server says in `owned_by` of /v1/models.
        request: The request for tokens.
        parse: Its reply; raises `BadReply` if something is missing that was asked for, `GivenUp` if it was not ended.
        tempered: How to start such a server so that its log-probabilities are those at the sampling temperature.
        tokenize: The request for the ids of a plain text.
        context: From the model's entry in /v1/models, and /props if the server has it: tokens a sequence may hold; None
            if neither says it.
        piece: Most tokens of one request; None for no limit.
    """

    name: str
    owner: str
    request: Callable[[Wanted], Call]
    parse: Callable[[Any, Wanted], Reply]
    tempered: str
    tokenize: Callable[[str, str], Call] = tokenize
    context: Callable[[Mapping[str, Any], Mapping[str, Any]], int | None] = context
    piece: int | None = None


def ids(values: Any) -> list[int]:
    """A list of token ids.

    Raises:
        BadReply: It is none.
    """
    if not isinstance(values, list) or not all(type(v) is int and v >= 0 for v in values):
        raise BadReply("no token ids")
    return values


def logprob(value: Any) -> float:
    """One ln p.

    Raises:
        BadReply: It is none.
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
