"""Tavily: https://docs.tavily.com/documentation/api-reference/endpoint/search.

POST /search {"query": "...", "max_results": 5}     Authorization: Bearer <TAVILY_API_KEY>
{"query": "...", "results": [{"title": "...", "url": "...", "content": "...", "score": 0.9}]}
"""

from __future__ import annotations

from typing import Any, Literal

from aepo.tools.key import ApiKey
from aepo.tools.search.base import Hit
from aepo.tools.search.remote import RemoteSearch, checked_url, clipped
from aepo.tools.search.reply import hits, member
from aepo.tools.service import HttpService, Request, ServiceLimits

VARIABLE = "TAVILY_API_KEY"
URL = "https://api.tavily.com/search"
_REFUSALS = {
    (432, b""): "has used up the plan of this key",
    (433, b""): "has used up the pay-as-you-go limit of this key",
}


class Tavily(RemoteSearch):
    """The web by Tavily; the key is in TAVILY_API_KEY."""

    def __init__(
        self, limits: ServiceLimits | None = None, depth: Literal["basic", "advanced"] = "basic", url: str = URL
    ) -> None:
        """Nothing is sent yet.

        Args:
            limits: Of the service; by default 1.5 requests a second, below the 100 a minute of keys for development.
            depth: "advanced" costs twice as much.
            url: Of the endpoint.

        Raises:
            ValueError: There is no key.
        """
        self.name, self.most_hits, self.version = "tavily", 20, f"1 {depth}"
        self.url, self.depth = checked_url(url), depth
        self.service = HttpService("tavily", "search", ApiKey(VARIABLE), limits or ServiceLimits(rate=1.5), _REFUSALS)

    def request(self, query: str, top_k: int) -> Request:
        """It refuses queries of more than 400 characters."""
        return Request.post(
            self.url, {"query": clipped(query, 400, 400), "max_results": top_k, "search_depth": self.depth}
        )

    def read(self, reply: Any) -> list[Hit]:
        """Its results."""
        return hits(member(reply, "results"), "title", "url", "content")
