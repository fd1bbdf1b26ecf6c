"""SearXNG, a search engine of one's own that asks others: https://docs.searxng.org/dev/search_api.html.

GET /search?q=...&format=json
{"results": [{"title": "...", "url": "...", "content": "...", "score": 1.5}],
 "unresponsive_engines": [["bing", "timeout"]]}
"""

from __future__ import annotations

from typing import Any

from aepo.tools.search.base import Hit
from aepo.tools.search.remote import RemoteSearch, checked_url
from aepo.tools.search.reply import hits, member
from aepo.tools.service import BadReply, HttpService, Request, ServiceLimits

_NO_JSON = "gives no JSON: add json to search.formats in its settings.yml"


class SearXNG(RemoteSearch):
    """An instance of SearXNG; it needs no key, and JSON among the formats of its settings."""

    def __init__(self, url: str, limits: ServiceLimits | None = None, language: str = "en") -> None:
        """Nothing is sent yet.

        Args:
            url: Of the instance, for instance http://localhost:8080.
            limits: Of the service.
            language: Of the results.

        Raises:
            ValueError: The address is none.
        """
        # It has one page of results at a time, and no setting for its size.
        self.name, self.most_hits = "searxng", 10
        self.url, self.language = checked_url(url) + "/search", language
        self.version = f"1 {self.url} {language}"
        self.service = HttpService("searxng", "search", None, limits, {(403, b""): _NO_JSON})

    def request(self, query: str, top_k: int) -> Request:
        """The first page."""
        return Request.get(self.url, {"q": query, "format": "json", "language": self.language})

    def read(self, reply: Any) -> list[Hit]:
        """Its results; none because no engine answered is a failure, and not an answer."""
        found = hits(member(reply, "results"), "title", "url", "content")
        if not found and member(reply, "unresponsive_engines"):
            raise BadReply("none of its engines answered")
        return found
