"""`RemoteSearch` is the base of the backends over HTTP. Each reply of a service becomes hits or a `BadServiceReply`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from aepo.tools.address import service_address
from aepo.tools.key import ApiKey
from aepo.tools.search.base import Hit, SearchBackend
from aepo.tools.search.corpus import valid
from aepo.tools.service import BadServiceReply, HttpService, Request, ServiceLimits
from aepo.types import ToolError

_LONGEST_TEXT = 4000


class RemoteSearch(SearchBackend, ABC):
    """A backend over HTTP. Each one is a dataclass that sets the attributes and defines `request`.

    Attributes:
        limits: Limits for the service; `usual_limits` by default.
        url: The endpoint's address.
        service: The client that sends requests.
        usual_limits: Limits that suit the service's usual plan.
        hits_at: Names that lead from the reply to the list of hits.
        hit_members: The names of title, address and text in each hit.
    """

    limits: ServiceLimits | None
    url: str
    service: HttpService
    usual_limits: ClassVar[ServiceLimits] = ServiceLimits()
    hits_at: ClassVar[tuple[str, ...]]
    hit_members: ClassVar[tuple[str, str, str]]

    def reach(self, key: ApiKey | None = None, refusals: Mapping[tuple[int, bytes], str] | None = None) -> None:
        """Check the address and set up the client; nothing is sent.

        Raises:
            ValueError: The address is not valid, or it holds a user, a password, a query or a fragment; logs would show
                them.
        """
        try:
            parts = service_address(self.url)
        except ValueError as error:
            raise ValueError(f"the address of a search service is {error}") from None
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError(f"the address of {parts.hostname} must hold neither user, password, query nor fragment")
        self.url = self.url.rstrip("/")
        self.service = HttpService(self.name, "search", key, self.limits or self.usual_limits, refusals)

    @abstractmethod
    def request(self, query: str, top_k: int) -> Request:
        """Make the request for a query."""

    def read(self, reply: Any) -> list[Hit]:
        """Find the hits in decoded JSON; hits without words are left out.

        Raises:
            BadServiceReply: The reply does not have the service's format.
        """
        entries = member(reply, *self.hits_at)
        found = kept([] if entries is None else entries, self._hit)
        return [hit for hit in found if hit.title or hit.text]

    def _hit(self, entry: Any) -> Hit:
        if not isinstance(entry, dict):
            raise BadServiceReply("no objects where the hits should be")
        title, url, text = (words(entry.get(name)) for name in self.hit_members)
        return Hit(title, url, text, number(entry.get("score")))

    async def search(self, query: str, top_k: int) -> list[Hit]:
        """See `SearchBackend`. Queries that differ only in white space are equal."""
        asked = " ".join(valid(query).split())
        if not asked:
            raise ToolError("the query has no words")
        return (await self.service.fetch(self.request(asked, top_k), self.read))[:top_k]


def clipped(query: str, characters: int, words: int) -> str:
    """Cut a query to the length that a service accepts, at whole words if possible."""
    kept = query.split()[:words]
    while len(kept) > 1 and len(" ".join(kept)) > characters:
        kept.pop()
    return " ".join(kept)[:characters]


def member(value: Any, *names: str) -> Any:
    """Follow these names into nested objects and return the value; None if a name is missing.

    Raises:
        BadServiceReply: One of the values on the way is not an object.
    """
    for name in names:
        if value is None:
            return None
        if not isinstance(value, dict):
            raise BadServiceReply(f"no object around {name!r}")
        value = value.get(name)
    return value


def kept(entries: Any, read: Callable[[Any], Hit]) -> list[Hit]:
    """Make a hit of each entry of a list with `read`; an entry that cannot be read is left out.

    Raises:
        BadServiceReply: `entries` is no list, or it has entries and not one can be read.
    """
    if not isinstance(entries, list):
        raise BadServiceReply("no list where the hits should be")
    found: list[Hit] = []
    failure: BadServiceReply | None = None
    for entry in entries:
        try:
            found.append(read(entry))
        except BadServiceReply as error:
            failure = error
    if failure is not None and not found:
        raise failure
    return found


def words(value: Any) -> str:
    """Make a text one line of valid UTF-8, with a largest length; a value that is no text becomes empty."""
    return " ".join(valid(value[:_LONGEST_TEXT]).split()) if isinstance(value, str) else ""


def number(value: Any) -> float:
    """Return a finite number as it is; any other value becomes 0."""
    try:
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0
    except OverflowError:
        return 0.0
