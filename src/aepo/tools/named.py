"""Tools by the names that commands and configurations use."""

from __future__ import annotations

from aepo.files.modules import load_named
from aepo.files.paths import local
from aepo.tools.base import Tool


def named(name: str, corpus: str | None = None) -> Tool:
    """A tool by its name.

    Args:
        name: "search", "browse", "python", or "package.module:function" for a tool or a function that returns one.
        corpus: For "search": a JSONL or Parquet file of documents, or a folder that `aepo tools index` made.

    Raises:
        ValueError: There is no such tool, or it has nothing to search.
        FileNotFoundError: There is no such corpus.
    """
    if name == "python":
        from aepo.tools.python import python

        return python()
    if name == "browse":
        from aepo.tools.pages.browse import browse

        try:
            return browse()
        except ImportError as error:
            raise ValueError(f"the tool browse: {error}; or leave it out of --tools") from error
    if name == "search":
        from aepo.tools.search import search

        if corpus is None:
            raise ValueError("the tool search has nothing to search: give a corpus, a JSONL file of documents")
        return search(local(corpus))
    if ":" not in name:
        raise ValueError(f"unknown tool {name!r}: known: search, browse, python, or package.module:function")
    made = load_named("tool", name)
    made = made if isinstance(made, Tool) or not callable(made) else made()
    if not isinstance(made, Tool):
        raise ValueError(f"tool {name!r} is a {type(made).__name__}: the function must return an aepo.tool")
    return made
