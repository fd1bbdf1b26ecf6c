"""`RemoteSearch`: a backend made of a service, a function that builds its request, and one that reads its reply."""

from __future__ import annotations

from typing import Any

from aepo.tools.address import service_address
from aepo.tools.search.base import Hit
from aepo.tools.service import HttpService, Request
from aepo.types import ToolError


class RemoteSearch:
    """What the backends over HTTP share; each is a subclass with `request` and `read`.

    Attributes:
        name: Of the service.
        version: Of its results.
        most_hits: The largest `top_k` that it can answer.
        service: Asks it.
    """

    name: str
    version: str
    most_hits: int
    service: HttpService

    def request(self, query: str, top_k: int) -> Request:
        """What to ask."""
        raise NotImplementedError

    def read(self, reply: Any) -> list[Hit]:
        """The hits in decoded JSON.

        Raises:
            BadReply: It is not what the service promises.
        """
        raise NotImplementedError

    async def search(self, query: str, top_k: int) -> list[Hit]:
        """See `SearchBackend`; queries that differ in white space only are equal."""
        asked = " ".join(query.encode("utf-8", "replace").decode().split())
        if not asked:
            raise ToolError("the query has no words")
        return (await self.service.fetch(self.request(asked, top_k), self.read))[:top_k]

    def __repr__(self) -> str:
        """Name and version."""
        return f"{type(self).__name__}({self.name!r}, {self.version!r})"


def checked_url(url: str) -> str:
    """The address of a service.

    Raises:
        ValueError: It is not one, or it holds a password: that would end in logs.
    """
    try:
        parts = service_address(url)
    except ValueError as error:
        raise ValueError(f"the address of a search service is {error}") from None
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"the address of {parts.hostname} must hold neither user, password, query nor fragment")
    return url.rstrip("/")


def clipped(query: str, characters: int, words: int) -> str:
    """As much of a query as a service takes, whole words where possible."""
    kept = query.split()[:words]
    while len(kept) > 1 and len(" ".join(kept)) > characters:
        kept.pop()
    return " ".join(kept)[:characters]
