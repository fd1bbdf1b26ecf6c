"""Searching: a corpus of one's own, a retrieval server, or the web, all as one tool."""

from aepo.tools.search.base import Hit, SearchBackend
from aepo.tools.search.brave import Brave
from aepo.tools.search.brightdata import BrightData
from aepo.tools.search.corpus import Document, read_documents
from aepo.tools.search.local import Index, LocalSearch
from aepo.tools.search.retrieval import Retrieval
from aepo.tools.search.searxng import SearXNG
from aepo.tools.search.serper import Serper
from aepo.tools.search.tavily import Tavily
from aepo.tools.search.tool import search

__all__ = [
    "Brave",
    "BrightData",
    "Document",
    "Hit",
    "Index",
    "LocalSearch",
    "Retrieval",
    "SearXNG",
    "SearchBackend",
    "Serper",
    "Tavily",
    "read_documents",
    "search",
]
