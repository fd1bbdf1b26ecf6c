"""The interface of a search backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Hit:
    """One search result.

    Attributes:
        title: The title; may be empty.
        url: The address; empty for a document of a corpus.
        text: The whole text, or the part that the service shows.
        score: The backend's score, comparable only within one answer; 0 if it gives none.
    """

    title: str
    url: str
    text: str
    score: float = 0.0


@runtime_checkable
class SearchBackend(Protocol):
    """Searches a corpus or the web.

    Attributes:
        name: Its name in logs and in cache keys.
        version: A part of cache keys; it changes when equal queries may have other hits.
        most_hits: The largest possible `top_k`.
    """

    name: str
    version: str
    most_hits: int

    async def search(self, query: str, top_k: int) -> list[Hit]:
        """Return the best hits, best first, at most `top_k`.

        Raises:
            ToolError: The query has no words, or the service is unavailable.
            ToolMisconfigured: The service will not answer until a person changes the key, the plan or the address.
        """
        ...
