"""Finds out by requests which kind a server is and what it supports."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aepo.engines.openai.client import BadReply, Client, ServerCall, ServerError, ServerRefusal
from aepo.engines.openai.dialect import Dialect, Reply, Wanted, ids
from aepo.engines.openai.llama_cpp import LLAMA_CPP
from aepo.engines.openai.sglang import SGLANG
from aepo.engines.openai.vllm import VLLM

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_log = logging.getLogger(__name__)

DIALECTS = (VLLM, SGLANG, LLAMA_CPP)
TEXT = "The capital of France is"
TOPS = (20, 5, 1, 0, None)
"""Values of `top` to try, the best first. vLLM refuses more than its --max-logprobs, and some servers give none."""
_WARM = 0.5


@dataclass(frozen=True)
class Served:
    """A model on a server.

    Attributes:
        model: The server's name of the model.
        dialect: The interface of the server.
        context: The longest sequence in tokens; None if the server does not say.
        top: The number of likeliest tokens with log-probabilities; 0 for the sampled one only, None for none.
        tempered: Whether log-probabilities are those at the sampling temperature; otherwise they are those at 1.
        version: The version of the weights, if they change under this name.
    """

    model: str
    dialect: Dialect
    context: int | None
    top: int | None
    tempered: bool
    version: int | None = None

    def exact_at(self, temperature: float, greedy: bool) -> bool:
        """Whether its log-probabilities are those at this temperature; for greedy sampling only at 1."""
        return temperature == 1.0 or (self.tempered and not greedy)


async def models(client: Client) -> Sequence[Mapping[str, Any]]:
    """The server's list of models.

    Raises:
        ServerError: It does not answer, or not with a list.
        ServerRefusal: It has no such list, or refuses the key.
    """
    data = await client.ask(ServerCall("/v1/models"))
    listed = data.get("data") if isinstance(data, dict) else None
    found = [one for one in listed if isinstance(one, dict) and isinstance(one.get("id"), str)] if listed else []
    if not found:
        raise ServerError(f"server {client.endpoint.url} names no model in /v1/models")
    return found


def chosen(url: str, served: Sequence[Mapping[str, Any]], name: str | None, setting: str) -> Mapping[str, Any]:
    """The model of that name, or the only one.

    Args:
        url: The server's address, for the message.
        served: The result of `models`.
        name: The server's name of the model; None if there is only one.
        setting: The setting that names a model, for the message.

    Raises:
        ValueError: No model has that name, or there are several and no name.
    """
    known = [one["id"] for one in served]
    if name is None and len(known) > 1:
        raise ValueError(f"server {url} serves {', '.join(known)}: choose one by {setting}")
    if name is not None and name not in known:
        raise ValueError(f"server {url} does not serve {name!r} but {', '.join(known)}")
    return served[known.index(name) if name is not None else 0]


async def probe(client: Client, model: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> Served:
    """Find out a server's interface and what it supports.

    Args:
        client: The server.
        model: Its entry in /v1/models.
        tokenizer: The tokenizer that the model should have.

    Raises:
        ServerError: It fails, or has another tokenizer.
        ServerRefusal: It gives no token ids, or refuses the request.
    """
    given = list(tokenizer.encode(TEXT, add_special_tokens=False))
    owner = model.get("owned_by")
    candidates = [one for one in DIALECTS if one.owner == owner] or DIALECTS
    refusals = []
    for dialect in candidates:
        try:
            top, reply = await _best(client, dialect, model["id"], given)
        except (ServerRefusal, BadReply) as error:
            refusals.append(f"{dialect.name}: {error}")
            continue
        await _same_tokenizer(client, dialect, model["id"], given)
        props = await _props(client) if dialect is LLAMA_CPP else {}
        tempered = False
        if top:
            warm = Wanted(model["id"], given, 1, temperature=_WARM, top=top)
            tempered = follows_temperature(
                reply.top[0], dialect.parse(await client.ask(dialect.request(warm)), warm).top[0], _WARM
            )
        return Served(model["id"], dialect, dialect.context(model, props), top, tempered)
    raise ServerRefusal(
        f"server {client.endpoint.url} takes and gives no token ids as vLLM (0.10.2 or later), SGLang or llama.cpp do "
        f"({'; '.join(refusals)})",
        0,
    )


async def _best(client: Client, dialect: Dialect, model: str, given: list[int]) -> tuple[int | None, Reply]:
    """The largest number of likeliest tokens that the server gives, and a reply with them.

    Raises:
        ServerRefusal: It refuses all such requests.
        BadReply: The reply has no ids.
    """
    first: ServerRefusal | BadReply | None = None
    for top in TOPS:
        wanted = Wanted(model, given, 4, top=top)
        try:
            reply = dialect.parse(await client.ask(dialect.request(wanted)), wanted)
            if top and top > 1 and not any(len(entry) > 1 for entry in reply.top):
                raise BadReply("no likely tokens beside the sampled one")
            return top, reply
        except (ServerRefusal, BadReply) as error:
            first = first or error
            if isinstance(error, ServerRefusal) and error.status in (401, 403, 404, 405):
                break
    assert first is not None
    raise first


async def _same_tokenizer(client: Client, dialect: Dialect, model: str, given: list[int]) -> None:
    try:
        data = await client.ask(dialect.tokenize(model, TEXT))
        found = ids(data.get("tokens") if isinstance(data, dict) else None)
    except (ServerRefusal, BadReply, ServerError):
        _log.warning("server %s does not tokenize: its tokenizer is not compared with ours", client.endpoint.url)
        return
    if found != given:
        raise ServerRefusal(
            f"server {client.endpoint.url} writes {TEXT!r} as {found}, this tokenizer as {given}: "
            "name the model's own by model.tokenizer",
            0,
        )


async def _props(client: Client) -> Mapping[str, Any]:
    try:
        data = await client.ask(ServerCall("/props"))
    except (ServerRefusal, ServerError):
        return {}
    return data if isinstance(data, dict) else {}


def follows_temperature(at_one: Mapping[int, float], warm: Mapping[int, float], temperature: float) -> bool:
    """Whether log-probabilities at one position are those at the sampling temperature.

    If so, differences of ln p between tokens grow as 1 / T; otherwise they do not depend on T.

    Args:
        at_one: ln p of some tokens, sampled at temperature 1.
        warm: ln p at the same position, sampled at `temperature`.
        temperature: A temperature other than 1.
    """
    shared = [token for token in at_one if token in warm]
    shared = [token for token in shared if at_one[token] > -1e4 and warm[token] > -1e4]  # for -inf
    if len(shared) < 2:
        return False
    high, low = max(shared, key=lambda t: at_one[t]), min(shared, key=lambda t: at_one[t])
    before, after = at_one[high] - at_one[low], warm[high] - warm[low]
    return abs(after - before / temperature) < abs(after - before)
