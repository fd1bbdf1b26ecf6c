"""One page of the shared Chromium, in a context and behind a proxy of its own, which shows itself only at rest.

Timers, dates and animation frames of a page move only while `Tab` runs its clock, `Math.random` is seeded, and the page
is looked at when no request is open and it has looked alike three times. So the same actions give the same texts.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import anyio
from playwright.async_api import BrowserContext, Dialog, ElementHandle, Error, Page, Request, Response
from playwright.async_api import TimeoutError as Overdue

from aepo.environments import EnvironmentLost, expected
from aepo.environments.browser.shared import shared
from aepo.environments.browser.sites import Sites
from aepo.tools.pages.chromium import Chromium
from aepo.tools.pages.guard import Refused, shorten
from aepo.tools.pages.proxy import NO_CONNECTION, REFUSED, Traffic, filtering_proxy
from aepo.types import ToolError

TICK = 600
"""Milliseconds of the page's own time after each action."""
_EPOCH = 1_700_000_000
_ROUNDS = 4
_PAUSE = 0.03
_ALIKE = 2
# A page that never stands still is looked at after this time, and a part that does not come is then not waited for.
_RESTLESS_SECONDS = 5.0
_UNCOUNTED = ("eventsource", "websocket", "ping")
_BEFORE = (files(__package__) / "page.js").read_text()
_SCROLL = """down => {
  const aepo = window.__aepo, from = scrollY, begun = aepo.start;
  if (down && aepo.next) {
    aepo.start = aepo.next;
    const { node } = aepo.start;
    (node.nodeType === Node.TEXT_NODE ? node.parentElement : node).scrollIntoView();
    return true;
  }
  scrollBy(0, down ? innerHeight : -innerHeight);
  if (!down || scrollY !== from) aepo.start = null;
  return scrollY !== from || aepo.start !== begun;
}"""
_LOOK = (files(__package__) / "look.js").read_text()


@dataclass(frozen=True)
class Settings:
    """What all tabs of an environment have in common.

    Attributes:
        sites: What can be reached.
        seconds: How long a page may take to load.
        max_characters: The longest text of a look.
        window: Width and height in pixels.
        style: CSS that is added to each page.
        max_bytes: What one tab may load in all.
        chromium: The browser; None finds one.
    """

    sites: Sites
    seconds: float
    max_characters: int
    window: tuple[int, int]
    style: str
    max_bytes: int
    chromium: Path | None


@dataclass
class Tab:
    """A page and what is known of it; made by `opened`."""

    settings: Settings
    browser: Chromium
    context: BrowserContext
    page: Page
    traffic: Traffic
    stack: AsyncExitStack
    open: dict[Request, float] = field(default_factory=dict)
    begun: int = 0
    said: list[str] = field(default_factory=list)
    answer: tuple[str, int] = ("", 0)
    crashed: bool = False

    @classmethod
    async def opened(cls, settings: Settings, seed: int) -> Tab:
        """Open an empty page.

        Raises:
            FileNotFoundError: There is no Chromium.
            EnvironmentLost: The browser died.
        """
        # Playwright opens a context also if the call is cancelled, and nobody would close it.
        opening = asyncio.create_task(cls._opened(settings, seed))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True), suppress(EnvironmentLost):
                await (await opening).close()
            raise

    @classmethod
    async def _opened(cls, settings: Settings, seed: int) -> Tab:
        stack = AsyncExitStack()
        try:
            browser = await shared().taken(settings.chromium)
            stack.push_async_callback(shared().given_back, browser)
            sites = settings.sites
            traffic = await stack.enter_async_context(filtering_proxy(sites.guard, sites, settings.max_bytes))
            width, height = settings.window
            context = await browser.chromium.new_context(
                proxy={"server": f"http://127.0.0.1:{traffic.port}", "bypass": "<-loopback>"},
                viewport={"width": width, "height": height},
                accept_downloads=False,
                service_workers="block",
                permissions=[],
                reduced_motion="reduce",
                locale="en-US",
                timezone_id="UTC",
            )
            stack.push_async_callback(browser.forget, context)
            await context.add_init_script(_BEFORE.replace("SEED", str(seed)).replace("STYLE", json.dumps(settings.style)))
            page = await context.new_page()
            tab = cls(settings, browser, context, page, traffic, stack)
            tab._listen()
            await context.clock.install(time=_EPOCH)
            await context.clock.pause_at(_EPOCH + 1000)
            return tab
        except BaseException as error:
            await stack.aclose()
            if isinstance(error, Error):
                raise EnvironmentLost(_line(error)) from error
            raise

    async def close(self) -> None:
        """Close the page with its context and its proxy."""
        with anyio.CancelScope(shield=True):
            await self.stack.aclose()

    async def goto(self, address: str) -> None:
        """Go to an address, which may be relative to the page's.

        Raises:
            Refused: It may not be visited.
            ToolError: It cannot be loaded.
        """
        guard = self.settings.sites.guard
        base = guard.url(self.page.url) if self.page.url.startswith("http") else None
        url = guard.url(address, base)
        self.settings.sites.check(url.host)
        with self._loaded(shorten(str(url))):
            await self.page.goto(str(url), wait_until="commit", timeout=self.settings.seconds * 1000)

    def problem(self) -> str:
        """Why the page could not be loaded; "" if it was."""
        url, status = self.answer
        # Only these statuses come from the proxy.
        if status in (REFUSED, NO_CONNECTION):
            try:
                found = self.traffic.problems.get(self.settings.sites.guard.url(url).place)
            except Refused as refused:
                found = refused
            if found is not None:
                return f"{shorten(url)} is not loaded: {found}"
        return "the page could not be loaded" if self.page.url.startswith("chrome-error:") else ""

    async def click(self, number: int) -> None:
        """Click an element."""
        element = await self.element(number)
        if not await element.is_enabled():
            raise ToolError(f"element {number} is disabled")
        await element.click(force=True, timeout=self.settings.seconds * 1000)

    async def fill(self, number: int, text: str) -> None:
        """Write into a field; a line break at the end is the key Enter."""
        element = await self.element(number)
        try:
            if not await element.is_editable():
                raise ToolError(f"element {number} cannot be changed")
            await element.fill(text.removesuffix("\n"), force=True)
        except Error as error:
            if self.lost(error):
                raise
            raise ToolError(f"element {number} does not take this text") from error
        if text.endswith("\n"):
            await element.press("Enter")

    async def select(self, number: int, option: str) -> None:
        """Choose an option of a list."""
        element = await self.element(number)
        labels = await element.evaluate("e => e.options && [...e.options].map(o => o.label.replace(/\\s+/g, ' ').trim())")
        if labels is None:
            raise ToolError(f"element {number} is no list to select from")
        if option not in labels:
            raise ToolError(f"element {number} has no option {shorten(option, 60)!r}: {shorten(', '.join(labels), 400)}")
        chosen = await element.evaluate("e => e.multiple ? [...e.selectedOptions].map(o => o.index) : []")
        await element.select_option(index=[*chosen, labels.index(option)], force=True)

    async def back(self) -> None:
        """Go back to the page before."""
        session = await self.context.new_cdp_session(self.page)
        history = await session.send("Page.getNavigationHistory")
        await session.detach()
        before = history["entries"][: history["currentIndex"]]
        if not any(entry["url"].startswith("http") for entry in before):
            raise ToolError("there is no page before this one")
        with self._loaded("the page before"):
            await self.page.go_back(wait_until="commit", timeout=self.settings.seconds * 1000)

    async def scroll(self, down: bool) -> None:
        """Scroll the window by its height, or down to where the text was cut."""
        moved = await self.page.evaluate(_SCROLL, down)
        if not moved:
            raise ToolError(f"the page is at its {'end' if down else 'beginning'}")

    async def element(self, number: int) -> ElementHandle:
        """The element with a number of the last look.

        Raises:
            ToolError: There is none.
        """
        found = await self.page.evaluate_handle("n => window.__aepo.elements[n - 1] ?? null", number)
        element = found.as_element()
        if element is None:
            raise ToolError(f"there is no element {number}")
        return element

    async def after(self, action: Callable[[], Coroutine[Any, Any, None]]) -> str:
        """Act, and tell what the page then shows.

        Raises:
            ToolError: The action cannot be done.
            EnvironmentLost: The browser died, or the page does not answer.
        """
        with self.told():
            begun = self.begun
            await action()
            await self.page.mouse.move(0, 0)
            for _ in range(_ROUNDS):
                await self._tick()
                text = await self._still()
                # What came over the network may have set timers, which have not run yet.
                if self.begun == begun:
                    break
                begun = self.begun
            self.said.clear()
            return text

    async def picture(self) -> str:
        """A picture of the window, as a data URL."""
        with self.told():
            shot = await self.page.screenshot(type="jpeg", quality=50, animations="allow")
        return f"data:image/jpeg;base64,{base64.b64encode(shot).decode()}"

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turn the errors of Playwright into ours."""
        try:
            yield
        except (TimeoutError, Overdue) as error:
            raise EnvironmentLost(f"the page does not answer within {self.settings.seconds:g} s") from error
        except Error as error:
            if self.lost(error):
                raise EnvironmentLost(f"the browser died: {_line(error)}") from error
            raise ToolError(_line(error)) from error

    @contextmanager
    def _loaded(self, what: str) -> Iterator[None]:
        try:
            yield
        except Error as error:
            if self.lost(error):
                raise
            raise ToolError(f"{what} is not loaded: {_line(error)}") from error

    def lost(self, error: Error) -> bool:
        """Whether an error means that the browser or the page died."""
        gone = self.crashed or self.page.is_closed() or not self.browser.chromium.is_connected()
        return gone or "has been closed" in error.message or "crashed" in error.message

    def _listen(self) -> None:
        page = self.page
        page.on("request", self._begin)
        page.on("response", self._answered)
        page.on("requestfinished", lambda request: self.open.pop(request, None))
        page.on("requestfailed", lambda request: self.open.pop(request, None))
        page.on("crash", lambda _: setattr(self, "crashed", True))
        page.on("dialog", self._accept)
        self.context.on("page", _close)

    def _begin(self, request: Request) -> None:
        if request.resource_type not in _UNCOUNTED:
            self.begun += 1
            self.open[request] = asyncio.get_running_loop().time()

    def _answered(self, response: Response) -> None:
        with suppress(Error):
            if response.request.is_navigation_request() and response.frame == self.page.main_frame:
                self.answer = response.url, response.status

    async def _accept(self, dialog: Dialog) -> None:
        self.said.append(f"(the page said: {shorten(dialog.message)})")
        with suppress(Error):
            await dialog.accept(dialog.default_value)

    async def _tick(self) -> None:
        async with asyncio.timeout(self.settings.seconds):
            try:
                await self.context.clock.run_for(TICK)
            except Error as error:
                # A page that is just being left has no clock; the next one starts with the time that it should have.
                if self.lost(error):
                    raise

    async def _still(self) -> str:
        want, last, alike = expected.get(), None, 0
        clock = asyncio.get_running_loop().time
        began = clock()
        while True:
            text, leaving = await self._look()
            now = clock()
            busy = self._loading(now) or (leaving and now < began + _RESTLESS_SECONDS)
            if text == want and not busy:
                return text
            alike = alike + 1 if text == last and not busy else 0
            last = text
            if alike == _ALIKE:
                return text
            if now > began + self.settings.seconds:
                return f"{text}\n(the page is still loading)".lstrip()
            if not busy and now > began + _RESTLESS_SECONDS:
                return text
            await asyncio.sleep(_PAUSE)

    def _loading(self, now: float) -> bool:
        """Whether a request is waited for: that of a page always, that of a part only for a time."""
        return any(
            request.is_navigation_request() or now < since + _RESTLESS_SECONDS for request, since in self.open.items()
        )

    async def _look(self) -> tuple[str, bool]:
        """What the page shows now, and whether it is being left."""
        if problem := self.problem():
            return "\n".join([*self.said, f"({problem}; go back)"]), False
        try:
            async with asyncio.timeout(self.settings.seconds):
                text, leaving = await self.page.evaluate(_LOOK, self.settings.max_characters)
                title = await self.page.title()
        except Error as error:
            if self.lost(error):
                raise
            return "", True
        head = [f"Page: {shorten(title, 100)}", f"Address: {shorten(self.page.url)}", *self.said]
        return "\n".join([*head, text]), leaving


def _line(error: Error) -> str:
    return shorten(error.message.partition("\n")[0])


async def _close(popup: Page) -> None:
    with suppress(Error):
        await popup.close()
