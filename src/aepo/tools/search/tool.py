"""The `search` tool. Its result has one line per hit."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from os import PathLike

from aepo.files.paths import local
from aepo.tools.base import Tool, tool
from aepo.tools.search.base import Hit, SearchBackend
from aepo.tools.search.corpus import Document, read_documents
from aepo.tools.search.local import Index, LocalSearch


def search(
    source: SearchBackend | Iterable[Document] | str | PathLike[str],
    top_k: int = 3,
    name: str = "search",
    timeout: float | None = None,
    concurrency: int | None = None,
    max_characters: int = 4000,
) -> Tool:
    """Make a tool with one argument, `query`; its result has one line per hit.

    Args:
        source: A backend such as `Brave()`, or documents, or the path of a corpus (see `read_documents`), or the path
            of a folder that `aepo tools index` made.
        top_k: Number of hits to show.
        name: The tool's name, which the model writes.
        timeout: Seconds for one query; by default 10 for documents, and no limit for a backend, which has its own.
        concurrency: Queries at once; by default 32 for documents, and 1024 for a backend, which has its own limit.
            Equal queries wait together for one answer.
        max_characters: Longer results are cut to this length.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: The corpus is empty or has another format, the index is damaged, or the backend does not give
            `top_k` hits.
    """
    if top_k < 1:
        raise ValueError(f"tool {name}: top_k is {top_k}, must be positive")
    backend = source if isinstance(source, SearchBackend) else LocalSearch(_index(source))
    if top_k > backend.most_hits:
        raise ValueError(f"tool {name}: top_k is {top_k}, {backend.name} gives at most {backend.most_hits} hits")
    of_documents = isinstance(backend, LocalSearch)
    usual_timeout, usual_concurrency = (10.0, 32) if of_documents else (math.inf, 1024)
    return tool(
        name=name,
        timeout=usual_timeout if timeout is None else timeout,
        concurrency=usual_concurrency if concurrency is None else concurrency,
        max_characters=max_characters,
        inline=of_documents and backend.inline,
        version=f"{backend.version}/{top_k}",
        pure=True,
        service="" if of_documents else backend.name,
    )(_local(backend.index, top_k) if of_documents else _remote(backend, top_k))


def _local(index: Index, top_k: int) -> Callable[[str], str]:
    def run_search(query: str) -> str:
        """Search the documents for some words and read the best matches.

        Args:
            query: The words to look for.
        """
        return "\n".join(f"- {text}" for text in index.search(query, top_k)) or "nothing found"

    return run_search


def _remote(backend: SearchBackend, top_k: int) -> Callable[[str], Awaitable[str]]:
    async def run_search(query: str) -> str:
        """Search for some words and read the best matches.

        Args:
            query: The words to look for.
        """
        return "\n".join(_line(hit) for hit in await backend.search(query, top_k)) or "nothing found"

    return run_search


def _index(source: Iterable[Document] | str | PathLike[str]) -> Index:
    if not isinstance(source, str | PathLike):
        return Index(source)
    path = local(source)
    return Index.open(path) if path.is_dir() else Index(read_documents(path))


def _line(hit: Hit) -> str:
    words = ": ".join(part for part in (hit.title, hit.text) if part)
    return f"- {words} ({hit.url})" if hit.url else f"- {words}"
