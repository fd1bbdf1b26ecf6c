"""Lists the commands of `aepo tools`; each has a file of its own."""

from __future__ import annotations

from collections.abc import Callable

from aepo.cli.tools_cache import cache
from aepo.cli.tools_index import index

TOOLS: dict[str, Callable[..., None]] = {
    "index": index,
    "cache": cache,
}


def tools() -> None:
    """Index documents for search, and manage the kept results of tools: see `aepo tools --help`."""
