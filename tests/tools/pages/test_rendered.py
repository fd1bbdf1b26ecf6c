"""A real Chromium: scripts run, and nothing that a page tries reaches what is not public."""

import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

pytest.importorskip("playwright")

from aepo.tools.base import ToolTimeout
from aepo.tools.pages.chromium import find_chromium
from aepo.tools.pages.connect import GuardedBackend, trust
from aepo.tools.pages.fetch import FetchedDocument, Fetcher
from aepo.tools.pages.guard import Guard, Refused
from aepo.tools.pages.rendered import Renderer
from aepo.tools.sandbox.probe import processes_with
from aepo.types import ToolError
from tests.tools.pages.conftest import Net, Site, answer, redirect

try:
    CHROMIUM = find_chromium()
except FileNotFoundError as error:
    pytest.skip(str(error), allow_module_level=True)

# The headless shell takes other arguments than the whole browser does.
BROWSERS = sorted({CHROMIUM, *map(Path, filter(None, [shutil.which("chromium")]))})
SECONDS = 60.0


def renderer(
    net: Net,
    seconds: float = SECONDS,
    pages_per_browser: int = 50,
    max_bytes: int = 5 << 20,
    chromium: Path = CHROMIUM,
) -> Renderer:
    guard = Guard(resolve=net.resolve)
    fetcher = Fetcher(guard, GuardedBackend(guard, net.dial), trust(), seconds, max_bytes)
    return Renderer(fetcher, chromium, pages_per_browser=pages_per_browser)


@pytest.fixture(scope="module", params=BROWSERS, ids=lambda path: path.name)
def world(request: pytest.FixtureRequest) -> Iterator[tuple[Net, Renderer]]:
    """One browser for all tests that leave it well."""
    site = Site()
    net = Net(site)
    made = renderer(net, chromium=request.param)
    yield net, made
    made.close()
    site.close()


@pytest.fixture
def net(world: tuple[Net, Renderer]) -> Net:
    made = world[0]
    made.site.answers.clear()
    made.site.asked.clear()
    made.dialled.clear()
    return made


@pytest.fixture
def browser(world: tuple[Net, Renderer]) -> Renderer:
    return world[1]


@pytest.fixture
def canary() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


def load(made: Renderer, url: str = "http://site.test/") -> FetchedDocument:
    return anyio.run(made.fetch, url)


def text(document: FetchedDocument) -> str:
    return document.content.decode()


def test_scripts_run_and_what_they_write_is_seen(net: Net, browser: Renderer) -> None:
    net.site.answers["/"] = answer("<body><script>document.body.append('written ' + 6 * 7)</script>")
    found = load(browser)
    assert "written 42" in text(found) and found.url == "http://site.test/"


def test_what_is_for_browsers_without_scripts_is_left_out(net: Net, browser: Renderer) -> None:
    net.site.answers["/"] = answer("<body><noscript><p>switch scripts on</p></noscript><p>the <a href=/x>end</a>")
    found = load(browser)
    assert "switch scripts on" not in text(found) and '<a href="/x">end</a>' in text(found)


ATTEMPTS = {
    "img": "<img src='http://{at}/img'>",
    "iframe": "<iframe src='http://{at}/iframe'></iframe>",
    "fetch": "<script>fetch('http://{at}/fetch', {{mode: 'no-cors'}})</script>",
    "WebSocket": "<script>new WebSocket('ws://{at}/ws')</script>",
    "beacon": "<script>navigator.sendBeacon('http://{at}/beacon', 'x')</script>",
    "prefetch": "<link rel=prefetch href='http://{at}/p'><link rel=preconnect href='http://{at}'>",
    "form": "<form action='http://{at}/form' method=post></form><script>document.forms[0].submit()</script>",
    "meta refresh": "<meta http-equiv=refresh content='0;url=http://{at}/meta'>",
    "location": "<script>location = 'http://{at}/location'</script>",
    "window.open": "<script>window.open('http://{at}/popup')</script>",
    "worker": "<script>new Worker(URL.createObjectURL(new Blob([`fetch('http://{at}/worker')`])))</script>",
    "file": "<iframe src='file:///etc/passwd'></iframe><script>fetch('file:///etc/passwd')</script>",
    "redirect": "<img src='/leave'>",
}


@pytest.mark.parametrize("host", ["127.0.0.1", "inside.test"])
def test_no_part_of_a_page_reaches_an_address_that_is_not_public(
    net: Net, browser: Renderer, canary: Site, host: str
) -> None:
    net.names["inside.test"] = ["127.0.0.1"]
    at = f"{host}:{canary.port}"
    still = [code for name, code in ATTEMPTS.items() if name not in ("meta refresh", "location", "form")]
    net.site.answers["/"] = answer("".join(still).format(at=at) + "<p>the end")
    net.site.answers["/leave"] = redirect(Location=f"http://{at}/redirected")
    assert "the end" in text(load(browser))
    for name in ("meta refresh", "location", "form"):
        net.site.answers["/"] = answer(ATTEMPTS[name].format(at=at) + "<p>the end")
        try:
            load(browser)
        except ToolError:
            continue
    assert canary.asked == []


def test_on_a_port_of_the_web_the_address_is_what_counts(net: Net, browser: Renderer) -> None:
    net.names["inside.test"] = ["127.0.0.1"]
    net.site.answers["/"] = answer("".join(ATTEMPTS.values()).format(at="inside.test"))
    with pytest.raises(Refused, match=r"http://site\.test/ refused: address is not public"):
        load(browser)
    assert {address for address, _ in net.dialled} == {"93.184.216.34"}


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://127.0.0.1/", "address is not public"),
        ("https://169.254.169.254/latest/", "address is not public"),
        ("http://0x7f.1/", "address is not public"),
        ("http://site.test:22/", "port 22|unsafe|failed"),
        ("file:///etc/passwd", "the browser failed"),
    ],
)
def test_a_redirect_of_the_page_itself_is_judged(net: Net, browser: Renderer, location: str, why: str) -> None:
    net.site.answers["/"] = redirect(Location=location)
    with pytest.raises(ToolError, match=why):
        load(browser)
    assert {address for address, _ in net.dialled} == {"93.184.216.34"}


@pytest.mark.parametrize("url", ["file:///etc/passwd", "chrome://version", "data:text/html,x", "view-source:http://a/"])
def test_only_addresses_of_the_web_are_opened(net: Net, browser: Renderer, url: str) -> None:
    with pytest.raises(Refused, match="only addresses that begin with http"):
        load(browser, url)


def test_a_page_is_read_though_its_parts_from_the_same_host_are_refused(net: Net, browser: Renderer) -> None:
    net.site.answers["/"] = answer("<p>the end<img src='http://site.test:9999/a.png'><img src='/missing.png'>")
    assert "the end" in text(load(browser))


def test_webrtc_sends_nothing_past_the_proxy(net: Net, browser: Renderer) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as canary:
        canary.bind(("127.0.0.1", 0))
        canary.setblocking(False)
        port = canary.getsockname()[1]
        net.site.answers["/"] = answer(
            f"<script>const c = new RTCPeerConnection({{iceServers: [{{urls: 'stun:127.0.0.1:{port}'}}]}});"
            "c.createDataChannel('x'); c.createOffer().then(o => c.setLocalDescription(o));"
            "c.onicegatheringstatechange = () => document.title = c.iceGatheringState</script>"
        )
        load(browser)
        with pytest.raises(BlockingIOError):
            canary.recv(1)


def test_an_error_of_the_server_is_told(net: Net, browser: Renderer) -> None:
    with pytest.raises(ToolError, match=r"^http://site\.test/none: HTTP 404$"):
        load(browser, "http://site.test/none")
    with pytest.raises(ToolError, match=r"^http://nowhere\.test/: no such host$"):
        load(browser, "http://nowhere.test/")


def test_a_file_is_left_to_the_plain_fetcher(net: Net, browser: Renderer) -> None:
    net.site.answers["/"] = answer(b"%PDF-1.4", "application/pdf", Content_Disposition="attachment")
    assert load(browser).content == b"%PDF-1.4"


def test_popups_and_dialogs_do_not_hold_a_page(net: Net, browser: Renderer) -> None:
    net.site.answers["/"] = answer(
        "<p>the end<script>alert(1); for (let i = 0; i < 20; i++) { const f = document.createElement('iframe');"
        "document.body.append(f); f.contentWindow.open('/popup' + i) }; confirm(2)</script>"
    )
    assert "the end" in text(load(browser))


def test_a_page_that_loads_too_much_or_is_too_large_is_cut(net: Net) -> None:
    net.site.answers["/"] = answer("x" * (2 << 20))
    net.site.answers["/grown"] = answer("<body><script>document.body.append('x'.repeat(2 << 20))</script>")
    made = renderer(net, max_bytes=100 << 10)
    try:
        with pytest.raises(ToolError, match="too large: it loads more than"):
            load(made)
        with pytest.raises(ToolError, match="too large: more than"):
            load(made, "http://site.test/grown")
    finally:
        made.close()


def test_a_page_that_never_rests_is_cut_and_the_next_one_is_fine(net: Net) -> None:
    net.site.answers["/"] = answer("<script>while (1);</script>")
    net.site.answers["/fine"] = answer("<p>fine")
    made = renderer(net, seconds=SECONDS)
    try:
        load(made, "http://site.test/fine")
        object.__setattr__(made._plain, "seconds", 2.0)
        with pytest.raises(ToolTimeout, match="not loaded within 2 s"):
            load(made)
        object.__setattr__(made._plain, "seconds", SECONDS)
        assert "fine" in text(load(made, "http://site.test/fine"))
    finally:
        made.close()


def test_a_dead_browser_is_replaced_and_one_is_replaced_after_some_pages(net: Net) -> None:
    net.site.answers["/"] = answer("<p>fine")
    made = renderer(net, pages_per_browser=2)
    markers = []
    try:
        for number in range(4):
            assert "fine" in text(load(made))
            assert made._current is not None
            markers.append(made._current.marker)
            if number == 2:
                for process in processes_with(markers[-1], 0):
                    os.kill(process, signal.SIGKILL)
                while made._current.alive():
                    pass
        assert markers[0] == markers[1] and len(set(markers)) == 3
    finally:
        made.close()
    assert [marker for marker in markers if processes_with(marker)] == []


def test_a_browser_that_hangs_is_ended_by_force(net: Net) -> None:
    net.site.answers["/"] = answer("<p>fine")
    made = renderer(net)
    load(made)
    assert made._current is not None
    marker = made._current.marker
    for process in processes_with(marker, 0):
        os.kill(process, signal.SIGSTOP)
    made.close()
    assert processes_with(marker, 5) == []
