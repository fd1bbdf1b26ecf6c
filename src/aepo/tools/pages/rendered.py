"""Loads pages in a Chromium of this machine, which runs their scripts behind the filtering proxy.

One Chromium loads a number of pages and is then replaced. Each page has a context and a proxy of its own.
"""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from playwright.async_api import BrowserContext, Error, Page

from aepo.process import event_loop
from aepo.tools.base import ToolTimeout
from aepo.tools.pages.body import ContentKind
from aepo.tools.pages.chromium import Chromium, find_chromium
from aepo.tools.pages.fetch import FetchedDocument, Fetcher, named
from aepo.tools.pages.guard import shorten
from aepo.tools.pages.proxy import NO_CONNECTION, REFUSED, Traffic, filtering_proxy
from aepo.types import ToolError

_QUIET_SECONDS = 2.0
# A page may load this many times its limit on HTML, because pictures and other parts are larger than the HTML.
_TRAFFIC = 10


class Renderer:
    """Loads pages in Chromium; `fetch` takes and returns the same as `Fetcher.fetch`."""

    def __init__(
        self, plain: Fetcher, chromium: Path | None = None, pages_at_once: int = 2, pages_per_browser: int = 50
    ) -> None:
        """Set the fetcher. Its guard, connections and limits are used here too, and it fetches files that are no pages.

        Raises:
            FileNotFoundError: No Chromium is given and none is found.
        """
        self._plain = plain
        self._chromium = chromium or find_chromium()
        self._per_browser = pages_per_browser
        self._places = asyncio.Semaphore(pages_at_once)
        self._changing = asyncio.Lock()
        self._current: Chromium | None = None
        atexit.register(self.close)

    async def fetch(self, address: str) -> FetchedDocument:
        """Load a page and run its scripts.

        Raises:
            Refused: The address, or one that it leads to, may not be visited.
            ToolTimeout: The page did not load within the time.
            ToolError: The page cannot be loaded or is too large.
        """
        # The browser belongs to the process's own loop, so calls from all loops go there.
        return await event_loop.hosted(self._fetch, address)

    def close(self) -> None:
        """End the browser; the next call starts another."""
        if self._current is not None:
            event_loop.run(self._retire)

    async def _fetch(self, address: str) -> FetchedDocument:
        with named(address):
            url = str(self._plain.guard.url(address))
            try:
                async with self._places, self._browser() as browser, asyncio.timeout(self._plain.seconds):
                    return await self._load(browser, url)
            except TimeoutError:
                raise ToolTimeout(f"{shorten(url)}: not loaded within {self._plain.seconds:g} s") from None
            except _Download:
                return await self._plain.fetch(url)
            except Error as error:
                raise ToolError(f"the browser failed: {shorten(error.message)}") from error

    @asynccontextmanager
    async def _browser(self) -> AsyncIterator[Chromium]:
        async with self._changing:
            if self._current is None or self._current.served >= self._per_browser or not self._current.alive():
                await self._retire()
                self._current = await Chromium.launch(self._chromium)
            browser = self._current
            browser.served += 1
            browser.open += 1
        try:
            yield browser
        finally:
            browser.open -= 1
            if browser is not self._current and not browser.open:
                await browser.close()

    async def _retire(self) -> None:
        old, self._current = self._current, None
        if old is not None and not old.open:
            await old.close()

    async def _load(self, browser: Chromium, url: str) -> FetchedDocument:
        plain = self._plain
        async with filtering_proxy(plain.guard, plain.backend, _TRAFFIC * plain.max_bytes) as traffic:
            proxy: Any = {"server": f"http://127.0.0.1:{traffic.port}", "bypass": "<-loopback>"}
            context = await browser.chromium.new_context(
                proxy=proxy, accept_downloads=False, service_workers="block", permissions=[]
            )
            try:
                return await self._within(traffic, self._visit(context, url, traffic))
            finally:
                await browser.forget(context)

    async def _within(self, traffic: Traffic, visit: Coroutine[Any, Any, FetchedDocument]) -> FetchedDocument:
        """Wait for the visit, or until the traffic passes its limit: a page whose data is cut off may wait for ever."""
        visiting, watching = asyncio.create_task(visit), asyncio.create_task(traffic.exceeded.wait())
        try:
            await asyncio.wait({visiting, watching}, return_when=asyncio.FIRST_COMPLETED)
            if traffic.exceeded.is_set():
                limit = _TRAFFIC * self._plain.max_bytes / 2**20
                raise ToolError(f"too large: it loads more than {limit:.3g} MiB")
            return await visiting
        finally:
            for task in (visiting, watching):
                task.cancel()
            await asyncio.gather(visiting, watching, return_exceptions=True)

    async def _visit(self, context: BrowserContext, url: str, traffic: Traffic) -> FetchedDocument:
        await context.add_init_script("window.open = () => null")
        page = await context.new_page()
        context.on("page", _close)
        # All addresses that the page itself went to, also by its scripts, with the status; 0 if there is none yet.
        steps = [(url, 0)]
        page.on("request", lambda asked: steps.append((asked.url, 0)) if _leads(page, asked) else None)
        page.on("response", lambda got: steps.append((got.url, got.status)) if _leads(page, got.request) else None)
        try:
            await page.goto(url, wait_until="domcontentloaded", timeout=0)
            with suppress(Error):
                await page.wait_for_load_state("networkidle", timeout=_QUIET_SECONDS * 1000)
            content = await _html(context, page, self._plain.max_bytes)
        except Error as error:
            if "Download is starting" in error.message:
                raise _Download from None
            self._explain(*steps[-1], traffic)
            raise
        # If a page may not be visited, the browser shows an error page, which must not be read as the page.
        self._explain(*steps[-1], traffic)
        final = str(self._plain.guard.url(page.url))
        return FetchedDocument(final, ContentKind.HTML, "utf-8", content.encode("utf-8", "replace"))

    def _explain(self, url: str, status: int, traffic: Traffic) -> None:
        """Raise the error that stopped the page itself; errors of its parts do not count."""
        problem = traffic.problems.get(self._plain.guard.url(url).place)
        # Only these statuses come from the proxy: with another one the page loaded, and a part of it failed.
        if problem is not None and status in (0, REFUSED, NO_CONNECTION):
            raise problem
        if status >= 400:
            raise ToolError(f"HTTP {status}")


class _Download(Exception):
    """The address leads to a file, which the plain fetcher must fetch."""


async def _close(popup: Page) -> None:
    with suppress(Error):
        await popup.close()


def _leads(page: Page, request: Any) -> bool:
    with suppress(Error):
        return bool(request.is_navigation_request() and request.frame == page.main_frame)
    return False


async def _html(context: BrowserContext, page: Page, limit: int) -> str:
    """Read the page's HTML as it is now, in an isolated world that its scripts cannot change."""
    session = await context.new_cdp_session(page)
    tree = await session.send("Page.getFrameTree")
    world = await session.send("Page.createIsolatedWorld", {"frameId": tree["frameTree"]["frame"]["id"]})
    # The scripts have run, so the text for browsers without scripts is removed.
    forget = "document.querySelectorAll('noscript').forEach(n => n.remove())"
    code = f"{forget}; (t => t.length > {limit} ? null : t)(document.documentElement.outerHTML)"
    result = await session.send(
        "Runtime.evaluate",
        {"contextId": world["executionContextId"], "expression": code, "returnByValue": True},
    )
    text = result["result"].get("value")
    if text is None:
        raise ToolError(f"too large: more than {limit / 2**20:.3g} MiB")
    return str(text)
