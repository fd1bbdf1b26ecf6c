"""Searches the web by one of five services. Each class says how to ask its service and where the reply has the hits.

The arguments `limits` and `url` are those of `RemoteSearch`. A country or a language is two letters. If the key of a
service is not in the environment, its class raises a `ValueError`.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlencode

from aepo.tools.key import ApiKey
from aepo.tools.search.base import Hit
from aepo.tools.search.remote import RemoteSearch, clipped, member
from aepo.tools.service import BadServiceReply, Request, ServiceLimits

KEYS = ("BRAVE_API_KEY", "SERPER_API_KEY", "TAVILY_API_KEY", "BRIGHTDATA_API_KEY")
"""The environment variables that hold keys."""

_LONGEST_QUERY = 2048


@dataclass(eq=False)
class Brave(RemoteSearch):
    """Searches the web by Brave; the key is in BRAVE_API_KEY. Every plan allows one request a second.

    https://api-dashboard.search.brave.com/api-reference/web/search/get

        GET /res/v1/web/search?q=...&count=5     X-Subscription-Token: <key>
        {"type": "search", "web": {"results": [{"title": "...", "url": "...", "description": "..."}]}}
    """

    limits: ServiceLimits | None = None
    country: str = "US"
    url: str = "https://api.search.brave.com/res/v1/web/search"

    usual_limits = ServiceLimits(rate=1.0)
    hits_at, hit_members = ("web", "results"), ("title", "url", "description")

    def __post_init__(self) -> None:
        self.name, self.version, self.most_hits = "brave", f"1 {self.country}", 20
        key = ApiKey("BRAVE_API_KEY", "X-Subscription-Token", "")
        self.reach(key, {(422, b"SUBSCRIPTION_TOKEN_INVALID"): "refuses the key"})

    def request(self, query: str, top_k: int) -> Request:
        """See `RemoteSearch`. Brave refuses queries of more than 400 characters or 50 words, so they are cut."""
        asked = {"q": clipped(query, 400, 50), "count": str(top_k), "country": self.country}
        return Request.get(self.url, asked | {"result_filter": "web", "text_decorations": "false"})

    def read(self, reply: Any) -> list[Hit]:
        """See `RemoteSearch`. Brave's texts are HTML."""
        found = super().read(reply)
        return [replace(hit, title=html.unescape(hit.title), text=html.unescape(hit.text)) for hit in found]


@dataclass(eq=False)
class BrightData(RemoteSearch):
    """Searches Google by Bright Data's SERP API; the key is in BRIGHTDATA_API_KEY, and `zone` is one of your account.

    The service fetches a page for each request, which takes long.

    https://docs.brightdata.com/api-reference/rest-api/serp/scrape-serp

        POST /request {"zone": "...", "url": "https://www.google.com/search?q=...&brd_json=1", "format": "raw"}
        Authorization: Bearer <key>
        {"general": {...}, "organic": [{"title": "...", "link": "...", "description": "...", "rank": 1}]}
    """

    zone: str
    limits: ServiceLimits | None = None
    country: str = "us"
    language: str = "en"
    url: str = "https://api.brightdata.com/request"

    usual_limits = ServiceLimits(rate=5.0, attempt_seconds=30.0, deadline=60.0)
    hits_at, hit_members = ("organic",), ("title", "link", "description")

    def __post_init__(self) -> None:
        # Google shows ten results on a page.
        self.name, self.version, self.most_hits = "brightdata", f"1 {self.country} {self.language}", 10
        self.reach(ApiKey("BRIGHTDATA_API_KEY"))

    def request(self, query: str, top_k: int) -> Request:
        """See `RemoteSearch`. The service parses Google's first page."""
        asked = {"q": query[:_LONGEST_QUERY], "gl": self.country, "hl": self.language, "brd_json": "1"}
        page = f"https://www.google.com/search?{urlencode(asked)}"
        return Request.post(self.url, {"zone": self.zone, "url": page, "format": "raw"})


@dataclass(eq=False)
class SearXNG(RemoteSearch):
    """Searches by an instance of SearXNG, e.g. http://localhost:8080. It needs no key; its settings must allow JSON.

    https://docs.searxng.org/dev/search_api.html

        GET /search?q=...&format=json
        {"results": [{"title": "...", "url": "...", "content": "...", "score": 1.5}],
         "unresponsive_engines": [["bing", "timeout"]]}
    """

    url: str
    limits: ServiceLimits | None = None
    language: str = "en"

    hits_at, hit_members = ("results",), ("title", "url", "content")

    def __post_init__(self) -> None:
        # It gives one page of results at a time, and the size of a page cannot be set.
        self.name, self.most_hits = "searxng", 10
        self.reach(None, {(403, b""): "gives no JSON: add json to search.formats in its settings.yml"})
        self.url += "/search"
        self.version = f"1 {self.url} {self.language}"

    def request(self, query: str, top_k: int) -> Request:
        """See `RemoteSearch`; it asks for the first page."""
        return Request.get(self.url, {"q": query, "format": "json", "language": self.language})

    def read(self, reply: Any) -> list[Hit]:
        """See `RemoteSearch`. If there are no hits because no engine answered, this is an error."""
        found = super().read(reply)
        if not found and member(reply, "unresponsive_engines"):
            raise BadServiceReply("none of its engines answered")
        return found


@dataclass(eq=False)
class Serper(RemoteSearch):
    """Searches Google by Serper (https://serper.dev); the key is in SERPER_API_KEY. Answer boxes etc. are left out.

    POST /search {"q": "...", "num": 5}     X-API-KEY: <key>
    {"organic": [{"title": "...", "link": "...", "snippet": "...", "position": 1}]}
    """

    limits: ServiceLimits | None = None
    country: str = "us"
    language: str = "en"
    url: str = "https://google.serper.dev/search"

    usual_limits = ServiceLimits(rate=5.0)
    hits_at, hit_members = ("organic",), ("title", "link", "snippet")

    def __post_init__(self) -> None:
        self.name, self.version, self.most_hits = "serper", f"1 {self.country} {self.language}", 100
        self.reach(ApiKey("SERPER_API_KEY", "X-API-KEY", ""), {(400, b"Not enough credits"): "has no credits left"})

    def request(self, query: str, top_k: int) -> Request:
        """See `RemoteSearch`."""
        asked = {"q": query[:_LONGEST_QUERY], "num": top_k, "gl": self.country, "hl": self.language}
        return Request.post(self.url, asked)


@dataclass(eq=False)
class Tavily(RemoteSearch):
    """Searches the web by Tavily; the key is in TAVILY_API_KEY. Keys for development allow 100 requests a minute.

    The depth "advanced" costs twice as much as "basic".

    https://docs.tavily.com/documentation/api-reference/endpoint/search

        POST /search {"query": "...", "max_results": 5}     Authorization: Bearer <key>
        {"query": "...", "results": [{"title": "...", "url": "...", "content": "...", "score": 0.9}]}
    """

    limits: ServiceLimits | None = None
    depth: Literal["basic", "advanced"] = "basic"
    url: str = "https://api.tavily.com/search"

    usual_limits = ServiceLimits(rate=1.5)
    hits_at, hit_members = ("results",), ("title", "url", "content")

    def __post_init__(self) -> None:
        self.name, self.version, self.most_hits = "tavily", f"1 {self.depth}", 20
        spent = {
            (432, b""): "has used up the plan of this key",
            (433, b""): "has used up the pay-as-you-go limit of this key",
        }
        self.reach(ApiKey("TAVILY_API_KEY"), spent)

    def request(self, query: str, top_k: int) -> Request:
        """See `RemoteSearch`. Tavily refuses queries of more than 400 characters, so they are cut."""
        asked = {"query": clipped(query, 400, 400), "max_results": top_k, "search_depth": self.depth}
        return Request.post(self.url, asked)
