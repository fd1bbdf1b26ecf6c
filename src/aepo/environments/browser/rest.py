"""Tells when a page is at rest: no request is open, and it has looked alike three times."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from playwright.async_api import Page, Request

from aepo.environments import expected

_PAUSE = 0.03
_ALIKE = 2
# A page that never stands still is looked at after this time, and a part that does not come is then not waited for.
_RESTLESS_SECONDS = 5.0
_UNCOUNTED = ("eventsource", "websocket", "ping")


class Requests:
    """The requests of a page.

    Attributes:
        begun: How many there were.
    """

    def __init__(self, page: Page) -> None:
        """Watch a page."""
        self.begun = 0
        self._open: dict[Request, float] = {}
        page.on("request", self._begin)
        page.on("requestfinished", self._end)
        page.on("requestfailed", self._end)

    def _begin(self, request: Request) -> None:
        if request.resource_type not in _UNCOUNTED:
            self.begun += 1
            self._open[request] = asyncio.get_running_loop().time()

    def _end(self, request: Request) -> None:
        self._open.pop(request, None)

    def waited_for(self) -> bool:
        """Whether one is waited for: that of a page always, that of a part only for a time."""
        now = asyncio.get_running_loop().time()
        return any(
            request.is_navigation_request() or now < since + _RESTLESS_SECONDS for request, since in self._open.items()
        )


async def at_rest(look: Callable[[], Awaitable[tuple[str, bool]]], requests: Requests, seconds: float) -> str:
    """What a page shows at rest. While calls are made again, it is at rest as soon as it shows what it showed before.

    Args:
        look: Tells what the page shows, and whether it is being left.
        requests: The requests of the page.
        seconds: How long a page may take to load; it is then shown as it is.
    """
    want, last, alike = expected.get(), None, 0
    clock = asyncio.get_running_loop().time
    began = clock()
    while True:
        text, leaving = await look()
        past = clock() - began
        busy = requests.waited_for() or (leaving and past < _RESTLESS_SECONDS)
        alike = alike + 1 if text == last and not busy else 0
        if not busy and (text == want or alike == _ALIKE or past > _RESTLESS_SECONDS):
            return text
        if past > seconds:
            return f"{text}\n(the page is still loading)".lstrip()
        last = text
        await asyncio.sleep(_PAUSE)
