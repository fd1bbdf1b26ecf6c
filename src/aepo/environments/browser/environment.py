"""A browser as an environment: the model sees a page as text with numbered elements, and acts by their numbers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Page

from aepo.environments import EnvironmentLost
from aepo.environments.browser import actions
from aepo.environments.browser.sites import Sites
from aepo.environments.browser.tab import Tab, TabSettings
from aepo.process import event_loop
from aepo.tools.pages.guard import Guard
from aepo.types import ToolError


class Browser:
    """A page in a Chromium of this machine; each trajectory has cookies and storage of its own.

    A sub-class for a site overrides `reset`, adds `get_reward`, and may override `_begin` and `_after`.

    Attributes:
        done: Whether nothing more can be done on the page.
    """

    done = False

    def __init__(
        self,
        sites: Mapping[str, str] | None = None,
        *,
        web: Guard | None = None,
        seconds: float = 20.0,
        max_characters: int = 3500,
        window: tuple[int, int] = (1024, 768),
        style: str = "",
        max_bytes: int = 100 << 20,
        chromium: Path | None = None,
    ) -> None:
        """Set what can be reached; nothing is opened yet.

        Args:
            sites: The servers of named sites, e.g. {"shop.test": "127.0.0.1:8000"}: what the model sees as
                http://shop.test/ is loaded from there.
            web: The guard for all other hosts; by default nothing else can be visited. `Guard()` opens the public web.
            seconds: How long a page may take to load; the page is then shown as it is.
            max_characters: The longest text of a page; `scroll` reads on.
            window: Width and height of the window in pixels.
            style: CSS that is added to each page.
            max_bytes: What one trajectory may load in all.
            chromium: The browser; by default the first one on PATH, the headless shell before others.

        Raises:
            ValueError: The server of a site is no host and port.
        """
        self._settings = TabSettings(
            Sites(sites or {}, web), seconds, max_characters, window, style, max_bytes, chromium
        )
        self._tab: Tab | None = None

    async def reset(self, address: str, seed: int = 0) -> str:
        """Open an address in a new context.

        Args:
            address: Where it begins.
            seed: The seed of the page's `Math.random`.

        Raises:
            FileNotFoundError: There is no Chromium.
            EnvironmentLost: The browser died, or the address could not be loaded.
        """
        return await event_loop.hosted(self._open, address, seed)

    async def click(self, number: int) -> str:
        """Click an element of the page.

        Args:
            number: Its number.
        """
        return await self._do(actions.click, number)

    async def type(self, number: int, text: str) -> str:
        """Write a text into a field, in place of what is there.

        Args:
            number: The number of the field.
            text: What to write; a line break at its end sends it.
        """
        return await self._do(actions.fill, number, text)

    async def select(self, number: int, option: str) -> str:
        """Choose an option of a list.

        Args:
            number: The number of the list.
            option: As the page names it.
        """
        return await self._do(actions.select, number, option)

    async def back(self) -> str:
        """Go back to the page before."""
        return await self._do(actions.back)

    async def goto(self, address: str) -> str:
        """Go to an address.

        Args:
            address: The address, or a path on the same site.
        """
        return await self._do(actions.goto, address)

    async def scroll(self, direction: Literal["up", "down"]) -> str:
        """Show what is above or below.

        Args:
            direction: Where to.
        """
        return await self._do(actions.scroll, direction == "down")

    @property
    async def state(self) -> dict[str, Any]:
        """Address, title and a picture of the page, for the records."""
        return await event_loop.hosted(self._state)

    async def close(self) -> None:
        """Close the page and all that it kept."""
        await event_loop.hosted(self._close)

    async def _begin(self, page: Page) -> None:
        """Do what must be done on the first page before it is shown."""

    async def _after(self, page: Page) -> None:
        """Read what the page tells after each look, such as whether it is done."""

    async def _open(self, address: str, seed: int) -> str:
        await self._close()
        self.done = False
        tab = self._tab = await Tab.opened(self._settings, seed)

        async def load() -> None:
            await actions.goto(tab, address)
            await tab.page.wait_for_load_state("load", timeout=self._settings.seconds * 1000)
            if problem := tab.problem():
                raise EnvironmentLost(problem)
            await self._begin(tab.page)

        try:
            text = await tab.after(load)
            await self._after(tab.page)
        except BaseException as error:
            await self._close()
            if isinstance(error, ToolError):
                raise EnvironmentLost(str(error)) from error
            raise
        return text

    async def _do(self, action: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> str:
        return await event_loop.hosted(self._acted, action, args)

    async def _acted(self, action: Callable[..., Coroutine[Any, Any, None]], args: tuple[Any, ...]) -> str:
        tab = self._opened()
        text = await tab.after(partial(action, tab, *args))
        with tab.told():
            await self._after(tab.page)
        return text

    async def _state(self) -> dict[str, Any]:
        tab = self._opened()
        picture = await tab.picture()
        with tab.told():
            return {"address": tab.page.url, "title": await tab.page.title(), "picture": picture}

    async def _close(self) -> None:
        tab, self._tab = self._tab, None
        if tab is not None:
            await tab.close()

    def _opened(self) -> Tab:
        if self._tab is None:
            raise EnvironmentLost("it was not reset, or it is closed")
        return self._tab
