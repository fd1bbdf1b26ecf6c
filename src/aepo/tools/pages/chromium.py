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

import anyio
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
_PROFILE = "--user-data-dir="
_LOOKS, _LOOK_SECONDS = 20, 0.05
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


def kill(marker: str) -> None:
    """Kill the processes of a browser."""
    for process in processes_with(marker, 0):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _profile(marker: str) -> str:
    for process in processes_with(marker, 0):
        with suppress(OSError):
            words = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")
            if found := [word for word in words if word.startswith(_PROFILE)]:
                return found[0].removeprefix(_PROFILE)
    return ""


@dataclass
class Chromium:
    """A Chromium and the driver that controls it.

    Attributes:
        driver: Playwright's driver, a process of its own.
        chromium: Playwright's browser.
        marker: An argument of all its processes, by which they are found.
        profile: Its temporary folder; "" if that is not known.
        served: How many pages it has loaded.
        open: How many contexts are open now.
        broken: It could not close a context and is not used again.
    """

    driver: Any
    chromium: Any
    marker: str
    profile: str = ""
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
            with anyio.CancelScope(shield=True):
                await driver.stop()
            raise
        return cls(driver, chromium, marker, _profile(marker))

    def alive(self) -> bool:
        """Tell whether it can be used."""
        return not self.broken and bool(self.chromium.is_connected())

    async def forget(self, context: BrowserContext) -> None:
        """Close a context; if the browser cannot close it, the browser is not used again."""
        # Closing has a time of its own, so it must go on when the page's time is up.
        await asyncio.shield(self._forget(context))

    async def _forget(self, context: BrowserContext) -> None:
        try:
            await asyncio.wait_for(context.close(), _CLOSE_SECONDS)
        except (TimeoutError, Error):
            self.broken = True

    async def close(self) -> None:
        """End the browser, by force if necessary."""
        with suppress(TimeoutError, Error):
            await asyncio.wait_for(self.chromium.close(), _CLOSE_SECONDS)
        # No thread: it may be called at the end of the process, when none can be started.
        for _ in range(_LOOKS):
            if not processes_with(self.marker, 0):
                break
            await asyncio.sleep(_LOOK_SECONDS)
        kill(self.marker)
        # Playwright removes it, but processes of a browser that was killed may write into it once more.
        if self.profile:
            shutil.rmtree(self.profile, ignore_errors=True)
        with suppress(TimeoutError, Error):
            await asyncio.wait_for(self.driver.stop(), _CLOSE_SECONDS)
