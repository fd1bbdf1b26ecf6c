"""Browsers that are killed, pages that hang, calls that are cancelled: worlds are told lost, and nothing is left."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aepo.environments import EnvironmentLost
from aepo.process import event_loop
from aepo.tools.sandbox.probe import processes_with
from tests.environments.browser.conftest import SECONDS, Site

pytest.importorskip("playwright")

PROGRAM = """
import asyncio, sys, time
from aepo.environments.browser import Browser, serve, shared
from aepo.process import event_loop
from starlette.responses import HTMLResponse

async def main():
    world = Browser({"site.test": serve(HTMLResponse("Hello"))}, seconds=60)
    await world.reset("http://site.test/")
    print(shared.shared().current.marker, flush=True)
    await asyncio.sleep(float(sys.argv[1]))

event_loop.run(main)
"""


def used() -> tuple[int, int]:
    """Contexts that are open, and places that are taken."""
    from aepo.environments.browser import shared

    async def count() -> tuple[int, int]:
        current = shared.shared().current
        if current is None:
            return 0, 0
        return len(current.chromium.contexts), current.open

    return event_loop.run(count)


def marker() -> str:
    from aepo.environments.browser import shared

    async def find() -> str:
        current = shared.shared().current
        assert current is not None
        return str(current.marker)

    return event_loop.run(find)


def children() -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "stat").read_text().rpartition(")")[2].split()[1] == str(os.getpid()):
                found.add(int(entry.name))
        except OSError:
            continue
    return found


def test_a_killed_browser_loses_its_worlds_and_the_next_reset_launches_another(site: Site) -> None:
    from aepo.environments.browser import Browser

    site.pages["/"] = "<button>Hello</button>"

    async def run() -> tuple[str, str]:
        worlds = [Browser({"site.test": site.where}, seconds=SECONDS) for _ in range(3)]
        first, *_ = [await world.reset("http://site.test/") for world in worlds]
        for process in processes_with(killed := await asyncio.to_thread(marker), 0):
            os.kill(process, signal.SIGKILL)
        for call in (worlds[0].click(1), worlds[1].state, worlds[2].scroll("down")):
            with pytest.raises(EnvironmentLost, match="the browser died"):
                await call
        before = children()
        again = await worlds[0].reset("http://site.test/")
        # The old driver has ended, and the new one is the only child more.
        assert len(children() - before) == 1 and len(before - children()) == 1
        for world in worlds:
            await world.close()
        assert processes_with(killed, 5) == []
        return first, again

    first, again = asyncio.run(run())
    assert first == again and used() == (0, 0)


def test_a_page_that_hangs_is_a_lost_world_and_the_next_one_is_fine(site: Site) -> None:
    from aepo.environments.browser import Browser

    site.pages |= {"/": "<button onclick='for (;;);'>Hang</button>", "/fine": "Fine"}

    async def run() -> str:
        hung = Browser({"site.test": site.where}, seconds=2)
        await hung.reset("http://site.test/")
        with pytest.raises(EnvironmentLost, match="does not answer within 2 s"):
            await hung.click(1)
        await hung.close()
        fine = Browser({"site.test": site.where}, seconds=SECONDS)
        text = await fine.reset("http://site.test/fine")
        await fine.close()
        return text

    assert event_loop.run(run).endswith("Fine") and used() == (0, 0)


def test_a_page_that_crashes_is_a_lost_world(site: Site) -> None:
    from aepo.environments.browser import Browser

    site.pages["/"] = "<button>Hello</button>"

    async def run() -> None:
        world = Browser({"site.test": site.where}, seconds=SECONDS, web=None)
        await world.reset("http://site.test/")
        assert world._tab is not None
        session = await world._tab.context.new_cdp_session(world._tab.page)
        crash = asyncio.create_task(session.send("Page.crash"))
        with pytest.raises(EnvironmentLost, match=r"crashed|closed"):
            await world.click(1)
        crash.cancel()
        await world.close()

    event_loop.run(run)
    assert used() == (0, 0)


def test_a_context_that_does_not_close_breaks_the_browser_even_if_nobody_waits_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from aepo.tools.pages import chromium

    class Stuck:
        async def close(self) -> None:
            await asyncio.Event().wait()

    async def main() -> None:
        browser = chromium.Chromium(None, None, "none")
        waiting = asyncio.create_task(browser.forget(Stuck()))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        waiting.cancel()
        async with asyncio.timeout(30):
            while not browser.broken:
                await asyncio.sleep(0.01)

    monkeypatch.setattr(chromium, "_CLOSE_SECONDS", 0.05)
    asyncio.run(main())


def test_worlds_that_are_cancelled_at_any_time_leave_nothing(site: Site) -> None:
    from aepo.environments.browser import Browser

    site.pages["/"] = "<button>Hello</button>"

    async def one(number: int) -> None:
        world = Browser({"site.test": site.where}, seconds=SECONDS)
        try:
            async with asyncio.timeout(0.02 * number):
                await world.reset("http://site.test/")
                while True:
                    await world.click(1)
        except TimeoutError:
            pass
        finally:
            await world.close()

    async def storm() -> None:
        await asyncio.gather(*(one(number) for number in range(16)))

    event_loop.run(storm)
    assert used() == (0, 0)
    asyncio.run(storm())
    deadline = time.monotonic() + 30
    while used() != (0, 0) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert used() == (0, 0)


@pytest.mark.parametrize("end", [None, signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=str)
def test_a_process_that_ends_leaves_no_browser_and_no_folder(tmp_path: Path, end: signal.Signals | None) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "0" if end is None else "60"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert program.stdout is not None
    with program:
        found = program.stdout.readline().strip()
        if end is not None:
            program.send_signal(end)
    assert found.startswith("--aepo-page-browser=") and processes_with(found, 30) == []
    deadline = time.monotonic() + 30
    while any(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(tmp_path.iterdir()) == []
