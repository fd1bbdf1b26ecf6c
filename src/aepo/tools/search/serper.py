"""Serper, results of Google: https://serper.dev.

POST /search {"q": "...", "num": 5}     X-API-KEY: <SERPER_API_KEY>
{"organic": [{"title": "...", "link": "...", "snippet": "...", "position": 1}]}
"""

from __future__ import annotations

from typing import Any

from aepo.tools.key import ApiKey
from aepo.tools.search.base import Hit
from aepo.tools.search.remote import RemoteSearch, checked_url
from aepo.tools.search.reply import hits, member
from aepo.tools.service import HttpService, Request, ServiceLimits

VARIABLE = "SERPER_API_KEY"
URL = "https://google.serper.dev/search"
_REFUSALS = {(400, b"Not enough credits"): "has no credits left"}


class Serper(RemoteSearch):
    """Google by Serper; the key is in SERPER_API_KEY."""

    def __init__(
        self, limits: ServiceLimits | None = None, country: str = "us", language: str = "en", url: str = URL
    ) -> None:
        """Nothing is sent yet.

        Args:
            limits: Of the service; by default 5 requests a second.
            country: Two letters.
            language: Two letters.
            url: Of the endpoint.

        Raises:
            ValueError: There is no key.
        """
        self.name, self.most_hits, self.version = "serper", 100, f"1 {country} {language}"
        self.url, self.country, self.language = checked_url(url), country, language
        key = ApiKey(VARIABLE, "X-API-KEY", "")
        self.service = HttpService("serper", "search", key, limits or ServiceLimits(rate=5.0), _REFUSALS)

    def request(self, query: str, top_k: int) -> Request:
        """It takes queries of any sensible length."""
        return Request.post(self.url, {"q": query[:2048], "num": top_k, "gl": self.country, "hl": self.language})

    def read(self, reply: Any) -> list[Hit]:
        """The organic results; answer boxes and the like are left out."""
        return hits(member(reply, "organic"), "title", "link", "snippet")
