"""One tool that searches your own corpus, a retrieval server, or the web."""

from aepo.tools.search.base import Hit, SearchBackend
from aepo.tools.search.corpus import Document, read_documents
from aepo.tools.search.local import Index, LocalSearch
from aepo.tools.search.retrieval import Retrieval
from aepo.tools.search.tool import search
from aepo.tools.search.web import Brave, BrightData, SearXNG, Serper, Tavily

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
