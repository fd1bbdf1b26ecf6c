"""Asks a server for sampled tokens."""

from __future__ import annotations

from typing import Any

from aepo.engines.openai.client import BadReply, Client, ServerError
from aepo.engines.openai.dialect import Dialect, Reply, Wanted


async def drawn(client: Client, dialect: Dialect, wanted: Wanted) -> Reply:
    """One to `max_tokens` tokens, with what else is wanted.

    Raises:
        ServerError: The server does not answer, or not with tokens; `GivenUp` if it aborted the request.
        ServerRefusal: The server refuses the request.
    """
    return read(await client.ask(dialect.request(wanted)), dialect, wanted, client.endpoint.url)


def read(data: Any, dialect: Dialect, wanted: Wanted, url: str) -> Reply:
    """The tokens of a server's reply.

    Raises:
        ServerError: It has none, or lacks what else is wanted; `GivenUp` if the server aborted the request.
    """
    try:
        reply = dialect.parse(data, wanted)
        if not reply.tokens:
            raise BadReply("no token")
    except BadReply as error:
        raise ServerError(f"server {url} sent what {dialect.name} would not: {error}") from None
    return reply
