"""A site on loopback and a browser that may visit it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

SECONDS = 60.0


@pytest.fixture(scope="session", autouse=True)
def chromium() -> None:
    pytest.importorskip("playwright")
    from aepo.tools.pages.chromium import find_chromium

    try:
        find_chromium()
    except FileNotFoundError as error:
        pytest.skip(str(error))


@dataclass
class Site:
    """Answers what it is told to, and notes what it was asked.

    Attributes:
        where: Host and port.
        pages: The bodies, by path.
        status: Other statuses than 200, by path.
        slow: Seconds that an answer takes, by path.
        asked: The paths, with the visitor's cookie.
    """

    where: str = ""
    pages: dict[str, str] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: Request) -> Response:
        path = request.url.path
        self.asked.append(path)
        await asyncio.sleep(self.slow.get(path, 0))
        if path not in self.pages:
            return HTMLResponse("", 404)
        made = HTMLResponse(self.pages[path], self.status.get(path, 200))
        if path == "/login":
            made.set_cookie("who", "me")
        if path == "/who":
            made = HTMLResponse(f"<p>You are {request.cookies.get('who', 'nobody')}.")
        return made


@pytest.fixture(scope="session")
def served(chromium: None) -> Site:
    from aepo.environments.browser import serve

    made = Site()
    made.where = serve(Starlette(routes=[Route("/{path:path}", made.answer)]))
    return made


@pytest.fixture
def site(served: Site) -> Site:
    for kept in (served.pages, served.status, served.slow, served.asked):
        kept.clear()
    return served


@pytest.fixture
def play(site: Site) -> Iterator[Callable[..., list[str]]]:
    """Runs calls on one page after the other and gives what each showed, errors for the model included."""
    from aepo.environments.browser import Browser
    from aepo.process import event_loop
    from aepo.types import ToolError

    async def run(calls: tuple[tuple[object, ...], ...], settings: dict[str, object]) -> list[str]:
        world = Browser({"site.test": site.where}, seconds=SECONDS, **settings)  # type: ignore[arg-type]
        try:
            seen = [await world.reset("http://site.test/", 0)]
            for name, *arguments in calls:
                act: Callable[..., Awaitable[str]] = getattr(world, str(name))
                try:
                    seen.append(await act(*arguments))
                except ToolError as error:
                    seen.append(f"error: {error}")
            return seen
        finally:
            await world.close()

    yield lambda *calls, **settings: event_loop.run(run, calls, settings)
