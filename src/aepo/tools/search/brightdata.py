"""Bright Data's SERP API, results of Google: https://docs.brightdata.com/api-reference/rest-api/serp/scrape-serp.

POST /request {"zone": "...", "url": "https://www.google.com/search?q=...&brd_json=1", "format": "raw"}
Authorization: Bearer <BRIGHTDATA_API_KEY>
{"general": {...}, "organic": [{"title": "...", "link": "...", "description": "...", "rank": 1}]}
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from aepo.tools.key import ApiKey
from aepo.tools.search.base import Hit
from aepo.tools.search.remote import RemoteSearch, checked_url
from aepo.tools.search.reply import hits, member
from aepo.tools.service import HttpService, Request, ServiceLimits

VARIABLE = "BRIGHTDATA_API_KEY"
URL = "https://api.brightdata.com/request"


class BrightData(RemoteSearch):
    """Google by Bright Data; the key is in BRIGHTDATA_API_KEY."""

    def __init__(
        self,
        zone: str,
        limits: ServiceLimits | None = None,
        country: str = "us",
        language: str = "en",
        url: str = URL,
    ) -> None:
        """Nothing is sent yet.

        Args:
            zone: The SERP zone of your account.
            limits: Of the service; by default 5 requests a second, a minute for a call and half of it for a try, since
                it fetches a page for each.
            country: Two letters.
            language: Two letters.
            url: Of the endpoint.

        Raises:
            ValueError: There is no key.
        """
        # Google shows ten results a page.
        self.name, self.most_hits, self.version = "brightdata", 10, f"1 {country} {language}"
        self.zone, self.country, self.language, self.url = zone, country, language, checked_url(url)
        limits = limits or ServiceLimits(rate=5.0, attempt_seconds=30.0, deadline=60.0)
        self.service = HttpService("brightdata", "search", ApiKey(VARIABLE), limits)

    def request(self, query: str, top_k: int) -> Request:
        """The first page of Google, parsed by the service."""
        asked = {"q": query[:2048], "gl": self.country, "hl": self.language, "brd_json": "1"}
        page = f"https://www.google.com/search?{urlencode(asked)}"
        return Request.post(self.url, {"zone": self.zone, "url": page, "format": "raw"})

    def read(self, reply: Any) -> list[Hit]:
        """The organic results."""
        return hits(member(reply, "organic"), "title", "link", "description")
