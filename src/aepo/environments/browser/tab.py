"""One page of the shared Chromium, in a context and behind a proxy of its own, which shows itself only at rest.

Timers, dates and animation frames of a page move only while `Tab` runs its clock, `Math.random` is seeded, and the page
is looked at when it is at rest. So the same actions give the same texts.
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
from playwright.async_api import BrowserContext, Dialog, Error, Page, Response
from playwright.async_api import TimeoutError as Overdue

from aepo.environments import EnvironmentLost
from aepo.environments.browser.rest import Requests, at_rest
from aepo.environments.browser.shared import shared
from aepo.environments.browser.sites import Sites
from aepo.tools.pages.chromium import Chromium
from aepo.tools.pages.guard import Refused, shorten
from aepo.tools.pages.proxy import NO_CONNECTION, REFUSED, Traffic, filtering_proxy
from aepo.types import ToolError

# Milliseconds of the page's own time after each action.
_TICK = 600
_EPOCH = 1_700_000_000
_ROUNDS = 4
_FAILED = "chrome-error:"
_BEFORE = (files(__package__) / "page.js").read_text()
_LOOK = (files(__package__) / "look.js").read_text()


@dataclass(frozen=True)
class TabSettings:
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
    """A page and what is known of it; made by `opened`.

    Attributes:
        settings: The settings of the environment.
        browser: In which it is.
        context: A context of its own: cookies, storage, clock.
        page: The page.
        traffic: The traffic of its proxy.
        stack: Closes all of these.
        requests: The requests of the page.
        said: Dialogs since the last look.
        answer: Address and status of the page.
        crashed: Whether the page's process died.
    """

    settings: TabSettings
    browser: Chromium
    context: BrowserContext
    page: Page
    traffic: Traffic
    stack: AsyncExitStack
    requests: Requests
    said: list[str] = field(default_factory=list)
    answer: tuple[str, int] = ("", 0)
    crashed: bool = False

    @classmethod
    async def opened(cls, settings: TabSettings, seed: int) -> Tab:
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
    async def _opened(cls, settings: TabSettings, seed: int) -> Tab:
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
            await context.add_init_script(
                _BEFORE.replace("SEED", str(seed)).replace("STYLE", json.dumps(settings.style))
            )
            page = await context.new_page()
            tab = cls(settings, browser, context, page, traffic, stack, Requests(page))
            tab._listen()
            await context.clock.install(time=_EPOCH)
            await context.clock.pause_at(_EPOCH + 1000)
            return tab
        except BaseException as error:
            await stack.aclose()
            if isinstance(error, Error):
                raise EnvironmentLost(line_of(error)) from error
            raise

    async def close(self) -> None:
        """Close the page with its context and its proxy."""
        with anyio.CancelScope(shield=True):
            await self.stack.aclose()

    def problem(self) -> str:
        """Why the page could not be loaded; "" if it was."""
        if self.traffic.exceeded.is_set():
            return f"more than {self.settings.max_bytes / 2**20:.3g} MiB were loaded in all"
        url, status = self.answer
        # Only these statuses come from the proxy.
        if status in (REFUSED, NO_CONNECTION):
            try:
                found = self.traffic.problems.get(self.settings.sites.guard.url(url).place)
            except Refused as refused:
                found = refused
            if found is not None:
                return f"{shorten(url)} is not loaded: {found}"
        return "the page could not be loaded" if self.page.url.startswith(_FAILED) and status < 400 else ""

    async def after(self, action: Callable[[], Coroutine[Any, Any, None]]) -> str:
        """Act, and tell what the page then shows.

        Raises:
            ToolError: The action cannot be done.
            EnvironmentLost: The browser died, or the page does not answer.
        """
        with self.told():
            begun = self.requests.begun
            await action()
            await self.page.mouse.move(0, 0)
            for _ in range(_ROUNDS):
                await self._tick()
                text = await at_rest(self._look, self.requests, self.settings.seconds)
                # What came over the network may have set timers, which have not run yet.
                if self.requests.begun == begun:
                    break
                begun = self.requests.begun
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
                raise EnvironmentLost(f"the browser died: {line_of(error)}") from error
            raise ToolError(line_of(error)) from error

    def lost(self, error: Error) -> bool:
        """Whether an error means that the browser or the page died."""
        gone = self.crashed or self.page.is_closed() or not self.browser.chromium.is_connected()
        return gone or "has been closed" in error.message or "crashed" in error.message

    def _listen(self) -> None:
        page = self.page
        page.on("response", self._answered)
        page.on("crash", lambda _: setattr(self, "crashed", True))
        page.on("dialog", self._accept)
        self.context.on("page", _close)

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
                await self.context.clock.run_for(_TICK)
            except Error as error:
                # A page that is just being left has no clock; the next one starts with the time that it should have.
                if self.lost(error):
                    raise

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
        (url, status), shown = self.answer, self.page.url
        if shown.startswith(_FAILED):
            # The browser writes a page where the server sent none.
            shown, title, text = url, "", ""
        head = [f"Page: {shorten(title, 100)}", f"Address: {shorten(shown)}", *self.said]
        failed = [f"(HTTP {status})"] * (status >= 400)
        return "\n".join([*head, *failed, text]), leaving


def line_of(error: Error) -> str:
    """The first line of what Playwright says."""
    return shorten(error.message.partition("\n")[0])


async def _close(popup: Page) -> None:
    with suppress(Error):
        await popup.close()
