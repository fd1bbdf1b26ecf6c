"""The questions of `atlas` with a tool that fails as those of a node do: its service is down, and calls hang."""

import itertools
import os
import time
from dataclasses import replace

import anyio

import aepo
from aepo.tasks.atlas import atlas
from aepo.tools.search.retrieval import Retrieval


def faulty(service: str, hang_every: int) -> aepo.Task:
    """`service` is the address of a retrieval server; one call of so many sleeps past its timeout."""
    backend, calls = Retrieval(service), itertools.count(1)

    @aepo.tool(timeout=4)
    async def search(query: str) -> str:
        """Search the web.

        Args:
            query: What to look for.
        """
        if next(calls) % hang_every == 0:
            await anyio.to_thread.run_sync(time.sleep, 20, abandon_on_cancel=True)
        return "\n".join(f"{hit.title}: {hit.text}" for hit in await backend.search(query, 2))

    return replace(atlas(size=40, held_out=2), tools=[search])


def buggy(after: int, fatal: bool = False) -> aepo.Task:
    """The questions of `atlas` with a tool whose bug shows after so many calls, or which then ends its process."""
    calls = itertools.count(1)

    @aepo.tool
    def search(query: str) -> str:
        """Search the web.

        Args:
            query: What to look for.
        """
        if next(calls) > after:
            if fatal:
                os._exit(1)
            raise KeyError("no such table")
        return "nothing found"

    return replace(atlas(size=40, held_out=2), tools=[search], held_out=())
