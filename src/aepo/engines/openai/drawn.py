"""Asks a server for sampled tokens."""

from __future__ import annotations

from aepo.engines.openai.client import BadReply, Client, ServerError
from aepo.engines.openai.dialect import Dialect, Reply, Wanted


async def drawn(client: Client, dialect: Dialect, wanted: Wanted) -> Reply:
    """One to `max_tokens` tokens, with what else is wanted.

    Raises:
        ServerError: The server does not answer, or not with tokens; `GivenUp` if it aborted the request.
        ServerRefusal: The server refuses the request.
    """
    data = await client.ask(dialect.request(wanted))
    try:
        reply = dialect.parse(data, wanted)
        if not reply.tokens:
            raise BadReply("no token")
    except BadReply as error:
        raise ServerError(f"server {client.endpoint.url} sent what {dialect.name} would not: {error}") from None
    return reply
