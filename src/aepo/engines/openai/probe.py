"""What a server is and what it gives: found out by asking it, before anything depends on it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aepo.engines.openai.client import BadReply, Call, Client, ServerError, ServerRefusal
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
"""What is tried, from the best on: vLLM refuses more than its --max-logprobs, and some servers give none."""
_WARM = 0.5


@dataclass(frozen=True)
class Served:
    """A model of a server.

    Attributes:
        model: As the server names it.
        dialect: How the server is spoken to.
        context: Tokens a sequence may hold; None if the server does not say.
        top: How many of the likeliest tokens it tells of; 0 for the sampled one only, None for no log-probability.
        tempered: Whether its log-probabilities are those at the sampling temperature; else they are those at 1.
    """

    model: str
    dialect: Dialect
    context: int | None
    top: int | None
    tempered: bool

    def exact_at(self, temperature: float, greedy: bool) -> bool:
        """Whether its log-probabilities are those at this temperature; of the likeliest token's choice, at 1 only."""
        return temperature == 1.0 or (self.tempered and not greedy)


async def models(client: Client) -> Sequence[Mapping[str, Any]]:
    """What the server serves.

    Raises:
        ServerError: It does not answer, or not this.
        ServerRefusal: It has no such list, or refuses the key.
    """
    data = await client.ask(Call("/v1/models"))
    listed = data.get("data") if isinstance(data, dict) else None
    found = [one for one in listed if isinstance(one, dict) and isinstance(one.get("id"), str)] if listed else []
    if not found:
        raise ServerError(f"server {client.endpoint.url} names no model in /v1/models")
    return found


def chosen(url: str, served: Sequence[Mapping[str, Any]], name: str | None, setting: str) -> Mapping[str, Any]:
    """The model of that name, or the only one.

    Args:
        url: Of the server, for people.
        served: What `models` found.
        name: As the server names it; None if there is but one.
        setting: How a user names one, for people.

    Raises:
        ValueError: There is none of that name, or there are several and none is named.
    """
    known = [one["id"] for one in served]
    if name is None and len(known) > 1:
        raise ValueError(f"server {url} serves {', '.join(known)}: choose one by {setting}")
    if name is not None and name not in known:
        raise ValueError(f"server {url} does not serve {name!r} but {', '.join(known)}")
    return served[known.index(name) if name is not None else 0]


async def probe(client: Client, model: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> Served:
    """Find out how a server is spoken to and what it gives.

    Args:
        client: The server.
        model: Its entry in /v1/models.
        tokenizer: The tokenizer that the model is believed to have.

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
    """The most that the server tells of likely tokens, and a reply that has it.

    Raises:
        ServerRefusal: It takes no such request, whatever is asked for.
        BadReply: It takes it, but there are no ids in the reply.
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
        data = await client.ask(Call("/props"))
    except (ServerRefusal, ServerError):
        return {}
    return data if isinstance(data, dict) else {}


def follows_temperature(at_one: Mapping[int, float], warm: Mapping[int, float], temperature: float) -> bool:
    """Whether log-probabilities of one place are those at the temperature of sampling.

    Differences of ln p between tokens grow as 1 / T if they are, and stay if they are taken before the temperature.

    Args:
        at_one: Of some tokens, sampled at 1.
        warm: The same place sampled at `temperature`.
        temperature: Not 1.
    """
    shared = [token for token in at_one if token in warm]
    shared = [token for token in shared if at_one[token] > -1e4 and warm[token] > -1e4]  # servers write -inf so
    if len(shared) < 2:
        return False
    high, low = max(shared, key=lambda t: at_one[t]), min(shared, key=lambda t: at_one[t])
    before, after = at_one[high] - at_one[low], warm[high] - warm[low]
    return abs(after - before / temperature) < abs(after - before)
