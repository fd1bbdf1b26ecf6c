"""The questions of `atlas` with a tool that fails as those of a node do: its service is down, and calls hang."""

import itertools
import time
from dataclasses import replace

import anyio
from own_task import capitals

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


def buggy(after: int) -> aepo.Task:
    """The task of `own_task`, whose tool has a bug that shows after so many calls."""
    task, calls = capitals(), itertools.count(1)
    [real] = task.tools

    @aepo.tool(name="search")
    def failing(query: str) -> str:
        """Look a capital up.

        Args:
            query: Words with the name of a country.
        """
        if next(calls) > after:
            raise KeyError("no such table")
        return str(real.function(query))

    return replace(task, tools=[failing])
