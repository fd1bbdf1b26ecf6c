"""Replies as the services' documentations show them, shortened and with other contents, by backend.

brave: https://api-dashboard.search.brave.com/api-reference/web/search/get, .../documentation/web-search/responses
serper: https://serper.dev, playground; its OpenAPI description at github.com/api-evangelist/serper
tavily: https://docs.tavily.com/documentation/api-reference/endpoint/search
brightdata: https://docs.brightdata.com/scraping-automation/serp-api/parsed-json-results/parsing-search-results
searxng: https://docs.searxng.org/dev/search_api.html, searx/webutils.py
retrieval: github.com/PeterGriffinJin/Search-R1, search_r1/search; github.com/volcengine/verl, search_r1_like_utils.py
"""

from __future__ import annotations

from typing import Any

from aepo.tools.search import Brave, BrightData, Hit, Retrieval, SearXNG, Serper, Tavily
from aepo.tools.search.remote import RemoteSearch
from aepo.tools.service import ServiceLimits

KEYS = ("BRAVE_API_KEY", "SERPER_API_KEY", "TAVILY_API_KEY", "BRIGHTDATA_API_KEY")
LIMITS = ServiceLimits(attempts=1)

REPLIES: dict[str, Any] = {
    "brave": {
        "type": "search",
        "query": {"original": "zurich", "more_results_available": True},
        "web": {
            "type": "search",
            "results": [
                {
                    "title": "Zürich &amp; its lake",
                    "url": "https://example.org/zurich",
                    "is_source_local": False,
                    "description": "Zürich is Switzerland&#x27;s largest city.",
                    "page_age": "2025-03-01T00:00:00",
                    "profile": {"name": "Example", "url": "https://example.org", "long_name": "example.org"},
                    "language": "en",
                    "family_friendly": True,
                    "type": "search_result",
                    "subtype": "generic",
                    "meta_url": {
                        "scheme": "https",
                        "netloc": "example.org",
                        "hostname": "example.org",
                        "path": "› zurich",
                    },
                    "extra_snippets": [],
                },
                {"title": "", "url": "https://example.org/empty", "description": ""},
            ],
            "family_friendly": True,
        },
        "mixed": {"type": "mixed", "main": [{"type": "web", "index": 0, "all": False}], "top": [], "side": []},
    },
    "serper": {
        "searchParameters": {"q": "zurich", "gl": "us", "hl": "en", "num": 5, "type": "search", "engine": "google"},
        "knowledgeGraph": {"title": "Zürich", "type": "City in Switzerland", "attributes": {"Area": "87.88 km²"}},
        "organic": [
            {
                "title": "Zürich & its lake",
                "link": "https://example.org/zurich",
                "snippet": "Zürich is Switzerland's largest city.",
                "sitelinks": [{"title": "History", "link": "https://example.org/zurich#history"}],
                "position": 1,
            }
        ],
        "peopleAlsoAsk": [{"question": "Is Zürich a capital?", "snippet": "No.", "title": "x", "link": "https://a.b"}],
        "relatedSearches": [{"query": "zurich airport"}],
        "credits": 1,
    },
    "tavily": {
        "query": "zurich",
        "follow_up_questions": None,
        "answer": None,
        "images": [],
        "results": [
            {
                "title": "Zürich & its lake",
                "url": "https://example.org/zurich",
                "content": "Zürich is Switzerland's largest city.",
                "score": 0.81025416,
                "raw_content": None,
            }
        ],
        "response_time": 1.67,
        "request_id": "123e4567-e89b-12d3-a456-426614174111",
    },
    "brightdata": {
        "general": {"search_engine": "google", "query": "zurich", "language": "en", "mobile": False, "page_title": "x"},
        "input": {"original_url": "https://www.google.com/search?q=zurich&brd_json=1", "request_id": "r1"},
        "organic": [
            {
                "link": "https://example.org/zurich",
                "display_link": "https://example.org › zurich",
                "title": "Zürich & its lake",
                "description": "Zürich is Switzerland's\n largest city.",
                "rank": 1,
                "global_rank": 3,
            }
        ],
        "pagination": {"current_page": 1, "next_page": 2},
    },
    "searxng": {
        "query": "zurich",
        "number_of_results": 0,
        "results": [
            {
                "url": "https://example.org/zurich",
                "title": "Zürich & its lake",
                "content": "Zürich is Switzerland's largest city.",
                "engine": "duckduckgo",
                "parsed_url": ["https", "example.org", "/zurich", "", "", ""],
                "engines": ["duckduckgo", "startpage"],
                "positions": [1, 2],
                "score": 3.0,
                "category": "general",
            }
        ],
        "answers": [],
        "corrections": [],
        "infoboxes": [],
        "suggestions": ["zurich weather"],
        "unresponsive_engines": [["brave", "too many requests"]],
    },
    "retrieval": {
        "result": [
            [
                {
                    "document": {
                        "id": "17",
                        "contents": '"Zürich & its lake"\nZürich is Switzerland\'s\nlargest city.',
                    },
                    "score": 0.8414,
                }
            ]
        ]
    },
}

TEXT = "Zürich is Switzerland's largest city."
HITS = {
    "brave": Hit("Zürich & its lake", "https://example.org/zurich", TEXT),
    "serper": Hit("Zürich & its lake", "https://example.org/zurich", TEXT),
    "tavily": Hit("Zürich & its lake", "https://example.org/zurich", TEXT, 0.81025416),
    "brightdata": Hit("Zürich & its lake", "https://example.org/zurich", TEXT),
    "searxng": Hit("Zürich & its lake", "https://example.org/zurich", TEXT, 3.0),
    "retrieval": Hit("Zürich & its lake", "", TEXT, 0.8414),
}


def backend(name: str, url: str = "http://127.0.0.1:9", limits: ServiceLimits = LIMITS) -> RemoteSearch:
    """One that asks a server on loopback; those with a key need it in the environment."""
    match name:
        case "brave":
            return Brave(limits, url=url)
        case "serper":
            return Serper(limits, url=url)
        case "tavily":
            return Tavily(limits, url=url)
        case "brightdata":
            return BrightData("serp_zone", limits, url=url)
        case "searxng":
            return SearXNG(url, limits)
        case _:
            return Retrieval(f"{url}/retrieve", limits)
