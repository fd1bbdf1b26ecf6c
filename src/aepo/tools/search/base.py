"""What a search backend is: words in, hits out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Hit:
    """One thing that was found.

    Attributes:
        title: May be empty.
        url: Where it is; empty for a document of a corpus.
        text: The text itself, or what the service shows of it.
        score: The backend's own, comparable only within one answer; 0 if it gives none.
    """

    title: str
    url: str
    text: str
    score: float = 0.0


@runtime_checkable
class SearchBackend(Protocol):
    """Searches a corpus or the web.

    Attributes:
        name: What it is called in logs and in keys of a cache.
        version: Differs when equal queries may have other hits, for keys of a cache.
        most_hits: The largest `top_k` that it can answer.
    """

    name: str
    version: str
    most_hits: int

    async def search(self, query: str, top_k: int) -> list[Hit]:
        """The best hits, best first, at most `top_k`.

        Raises:
            ToolError: The query has no words, or the service is unavailable.
            ToolMisconfigured: The service will answer nothing until a person changes key, plan or address.
        """
        ...
