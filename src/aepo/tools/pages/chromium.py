"""Launches the Chromium of this machine so that it reaches nothing but a filtering proxy, and ends it."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import BrowserContext, Error, async_playwright

from aepo.tools.sandbox.probe import processes_with

# The headless shell needs a third of the processor time of the whole browser for the same page.
_NAMES = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
    "chrome",
)
_CLOSE_SECONDS = 5.0
_START_SECONDS = 60.0
# The browser's default proxy, at which nobody answers: a request that belongs to no page gets nowhere.
_NOWHERE = "http://127.0.0.1:1"
_ARGUMENTS = (
    "--proxy-bypass-list=<-loopback>",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    # The browser reads the first of these two, the headless shell the second.
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-quic",
    "--block-new-web-contents",
    "--js-flags=--max-old-space-size=512",
)


def find_chromium() -> Path:
    """Find the Chromium of this machine.

    Raises:
        FileNotFoundError: There is none on PATH.
    """
    for name in _NAMES:
        if found := shutil.which(name):
            return Path(found)
    raise FileNotFoundError(f"there is no Chromium on PATH ({', '.join(_NAMES)}); install one")


@dataclass
class Chromium:
    """A Chromium and the driver that controls it.

    Attributes:
        driver: Playwright's driver, a process of its own.
        chromium: Playwright's browser.
        marker: An argument of all its processes, by which they are found.
        served: How many pages it has loaded.
        open: How many contexts are open now.
        broken: It could not close a context and is not used again.
    """

    driver: Any
    chromium: Any
    marker: str
    served: int = 0
    open: int = 0
    broken: bool = False

    @classmethod
    async def launch(cls, binary: Path) -> Chromium:
        """Launch it.

        Raises:
            Error: It does not start.
        """
        marker = f"--aepo-page-browser={secrets.token_hex(8)}"
        driver = await async_playwright().start()
        try:
            chromium = await driver.chromium.launch(
                executable_path=binary,
                args=[*_ARGUMENTS, marker],
                proxy={"server": _NOWHERE, "bypass": "<-loopback>"},
                # Chromium's own sandbox does not work for root.
                chromium_sandbox=os.geteuid() != 0,
                env={"PATH": os.defpath, "HOME": tempfile.gettempdir(), "LANG": "C.UTF-8"},
                timeout=_START_SECONDS * 1000,
            )
        except BaseException:
            await driver.stop()
            raise
        return cls(driver, chromium, marker)

    def alive(self) -> bool:
        """Tell whether it can be used."""
        return not self.broken and bool(self.chromium.is_connected())

    async def forget(self, context: BrowserContext) -> None:
        """Close a context; if the browser cannot close it, the browser is not used again."""
        try:
            # Closing has a time of its own, so it must go on when the page's time is up.
            await asyncio.shield(asyncio.wait_for(context.close(), _CLOSE_SECONDS))
        except (TimeoutError, Error):
            self.broken = True

    async def close(self) -> None:
        """End the browser, by force if necessary."""
        with suppress(TimeoutError, Error):
            await asyncio.wait_for(self.chromium.close(), _CLOSE_SECONDS)
        for process in await asyncio.to_thread(processes_with, self.marker):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        with suppress(TimeoutError, Error):
            await asyncio.wait_for(self.driver.stop(), _CLOSE_SECONDS)
