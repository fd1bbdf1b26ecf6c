"""The Chromium that all browser environments of a process share. It is launched when one is needed."""

from __future__ import annotations

import asyncio
import atexit
import os
from pathlib import Path

from aepo.process import event_loop
from aepo.tools.pages.chromium import Chromium, find_chromium, kill


class _Shared:
    """One Chromium, which belongs to the process's event loop."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.loop = asyncio.get_running_loop()
        self.current: Chromium | None = None
        self.changing = asyncio.Lock()

    async def taken(self, binary: Path | None) -> Chromium:
        """Take a place in the browser; a dead one is replaced."""
        async with self.changing:
            if self.current is None or not self.current.alive():
                await self.retire()
                self.current = await Chromium.launch(binary or find_chromium())
            self.current.open += 1
            return self.current

    async def given_back(self, browser: Chromium) -> None:
        """Give a place back; a browser that was replaced, or that does not work, ends with its last place."""
        browser.open -= 1
        if browser.open or (browser is self.current and browser.alive()):
            return
        if browser is self.current:
            self.current = None
        await browser.close()

    async def retire(self) -> None:
        """End the browser, or let its last place end it if it still works."""
        old, self.current = self.current, None
        if old is not None and (not old.open or not old.chromium.is_connected()):
            await old.close()


_shared: _Shared | None = None


def shared() -> _Shared:
    """What the process shares; called on its event loop."""
    global _shared
    if _shared is None or _shared.process != os.getpid():
        _shared = _Shared()
    elif _shared.loop is not asyncio.get_running_loop():
        # The loop was blocked and left behind, and the browser with it.
        if _shared.current is not None:
            kill(_shared.current.marker)
        _shared = _Shared()
    return _shared


@atexit.register
def close() -> None:
    """End the browser of this process; the next environment that is reset launches another."""
    if _shared is not None and _shared.process == os.getpid():
        event_loop.run(_end)


async def _end() -> None:
    mine = shared()
    old, mine.current = mine.current, None
    if old is not None:
        await old.close()
