"""Brave Search: https://api-dashboard.search.brave.com/api-reference/web/search/get.

GET /res/v1/web/search?q=...&count=5     X-Subscription-Token: <BRAVE_API_KEY>
{"type": "search", "web": {"results": [{"title": "...", "url": "...", "description": "..."}]}}
"""

from __future__ import annotations

import html
from dataclasses import replace
from typing import Any

from aepo.tools.key import ApiKey
from aepo.tools.search.base import Hit
from aepo.tools.search.remote import RemoteSearch, checked_url, clipped
from aepo.tools.search.reply import hits, member
from aepo.tools.service import HttpService, Request, ServiceLimits

VARIABLE = "BRAVE_API_KEY"
URL = "https://api.search.brave.com/res/v1/web/search"
_REFUSALS = {(422, b"SUBSCRIPTION_TOKEN_INVALID"): "refuses the key"}


class Brave(RemoteSearch):
    """The web by Brave; the key is in BRAVE_API_KEY."""

    def __init__(self, limits: ServiceLimits | None = None, country: str = "US", url: str = URL) -> None:
        """Nothing is sent yet.

        Args:
            limits: Of the service; by default one request a second, which every plan allows.
            country: Two letters.
            url: Of the endpoint.

        Raises:
            ValueError: There is no key.
        """
        self.name, self.most_hits, self.version = "brave", 20, f"1 {country}"
        self.url, self.country = checked_url(url), country
        key = ApiKey(VARIABLE, "X-Subscription-Token", "")
        self.service = HttpService("brave", "search", key, limits or ServiceLimits(rate=1.0), _REFUSALS)

    def request(self, query: str, top_k: int) -> Request:
        """It refuses queries of more than 400 characters or 50 words."""
        asked = {"q": clipped(query, 400, 50), "count": str(top_k), "country": self.country}
        return Request.get(self.url, asked | {"result_filter": "web", "text_decorations": "false"})

    def read(self, reply: Any) -> list[Hit]:
        """Its web results, whose texts are HTML."""
        found = hits(member(reply, "web", "results"), "title", "url", "description")
        return [replace(hit, title=html.unescape(hit.title), text=html.unescape(hit.text)) for hit in found]
