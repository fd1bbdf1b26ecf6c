"""A real Chromium acts on real pages; what it does can be done again, and a page reaches nothing but its site."""

import socket
from collections.abc import Callable

import anyio
import pytest

from aepo.environments import EnvironmentLost, expected
from aepo.process import event_loop
from tests.environments.browser.conftest import SECONDS, Site

Play = Callable[..., list[str]]


def body(text: str) -> str:
    """What stands below title and address."""
    return text.split("\n", 2)[2]


def test_it_clicks_types_selects_and_sends(site: Site, play: Play) -> None:
    site.pages["/"] = (
        "<input id=t onkeydown=\"if (event.key == 'Enter') document.title = t.value\"><input type=checkbox>"
        "<select><option>A<option>B b</select><select multiple><option>x<option>y</select><input readonly value=r>"
    )
    *_, last = play(("type", 1, "Ada\n"), ("click", 2), ("select", 3, "B b"), ("select", 4, "x"), ("select", 4, "y"))
    assert last == (
        'Page: Ada\nAddress: http://site.test/\n[1] textbox = "Ada" [2] checkbox (checked) '
        '[3] select = "B b" (of: A, B b) [4] select = "x, y" (of: x, y) [5] textbox = "r"'
    )
    _, *errors = play(("click", 9), ("select", 3, "C"), ("select", 1, "A"), ("type", 5, "x"), ("type", 2, "x"))
    assert errors == [
        "error: there is no element 9",
        "error: element 3 has no option 'C': A, B b",
        "error: element 1 is no list to select from",
        "error: element 5 cannot be changed",
        "error: element 2 does not take this text",
    ]


def test_it_follows_links_goes_back_and_stays_in_one_window(site: Site, play: Play) -> None:
    site.pages |= {
        "/": "<a href=/a target=_blank>a</a><button onclick=\"window.open('/b')\">b</button>",
        "/a": "Page a",
        "/b": "Page b",
    }
    there = play(("click", 1), ("back",), ("click", 2), ("goto", "/a"), ("back",), ("back",))
    gone = play(("back",), ("goto", "/none"), ("back",))
    assert [body(text) if "Page:" in text else text for text in [*there, *gone[1:]]] == [
        '[1] link "a" [2] button "b"',
        "Page a",
        '[1] link "a" [2] button "b"',
        "Page b",
        "Page a",
        "Page b",
        '[1] link "a" [2] button "b"',
        "error: there is no page before this one",
        "(HTTP 404)\n",
        '[1] link "a" [2] button "b"',
    ]


def test_time_stands_still_between_actions_and_chance_is_the_same_each_time(site: Site, play: Play) -> None:
    site.pages["/"] = (
        "<p id=p>...</p><button onclick=\"p.textContent = Math.random() + ' ' + Date.now() + ' ' + ticks\">Now</button>"
        "<script>let ticks = 0; setInterval(() => ticks++, 100)</script>"
    )
    first, again = (play(("click", 1), ("click", 1)) for _ in range(2))
    assert first == again and first[1] != first[2]


def test_what_comes_over_the_network_is_waited_for_with_the_timers_that_it_sets(site: Site, play: Play) -> None:
    site.pages |= {
        "/": "<p id=p>...</p><button id=b>Load</button><a href='/slow'>Go</a><script>b.onclick = () => fetch('/slow')"
        ".then(r => r.text()).then(t => setTimeout(() => p.textContent = t, 300))</script>",
        "/slow": "It came",
    }
    site.slow["/slow"] = 1.0
    _, loaded, gone = play(("click", 1), ("click", 2))
    assert body(loaded).startswith("It came") and body(gone) == "It came"


def test_an_error_of_the_server_is_a_page_and_a_slow_one_is_told_after_its_time(site: Site, play: Play) -> None:
    site.pages |= {"/": "<a href=/broken>Go</a>", "/broken": "Error 500, please try again"}
    site.status["/broken"] = 500
    assert body(play(("click", 1))[1]) == "(HTTP 500)\nError 500, please try again"


def test_dialogs_are_answered_and_told_once(site: Site, play: Play) -> None:
    site.pages["/"] = "<button onclick=\"alert('Saved'); document.title = confirm('Sure?')\">Save</button>"
    _, said, silent = play(("click", 1), ("scroll", "down"))
    assert said.startswith("Page: true\n") and "(the page said: Saved)\n(the page said: Sure?)" in said
    assert silent == "error: the page is at its end"


def test_each_trajectory_has_cookies_of_its_own(site: Site, play: Play) -> None:
    site.pages |= {"/": "", "/login": "Welcome", "/who": ""}
    assert [body(text) for text in play(("goto", "/login"), ("goto", "/who"))[1:]] == ["Welcome", "You are me."]
    assert body(play(("goto", "/who"))[1]) == "You are nobody."


def test_a_page_reaches_nothing_but_the_sites(site: Site, play: Play) -> None:
    with socket.create_server(("127.0.0.1", 0)) as canary:
        canary.setblocking(False)
        at = f"127.0.0.1:{canary.getsockname()[1]}"
        site.pages["/"] = (
            f"<img src='http://{at}/img'><iframe src='http://{at}/frame'></iframe>"
            f"<script>fetch('http://{at}/', {{mode: 'no-cors'}}); new WebSocket('ws://{at}/')</script><a href='http://{at}/'>out</a>"
        )
        _, told, gone = play(("goto", f"http://{at}/"), ("click", 1))
        with pytest.raises(BlockingIOError):
            canary.accept()
    assert "refused" in told or "is not one of the web" in told
    assert gone == f"(http://{at}/ is not loaded: port {at[10:]} is not one of the web; go back)"


def test_a_replay_stops_waiting_as_soon_as_it_sees_what_was_seen(site: Site) -> None:
    from aepo.environments.browser import Browser

    site.pages["/"] = "<button onclick=\"fetch('/x').then(() => document.title = 'Done')\">Do</button>"

    async def run() -> list[str]:
        seen = []
        for want in (None, "of the first"):
            world = Browser({"site.test": site.where}, seconds=SECONDS)
            await world.reset("http://site.test/")
            token = expected.set(want and seen[0])
            seen.append(await world.click(1))
            expected.reset(token)
            await world.close()
        return seen

    first, again = event_loop.run(run)
    assert first == again and first.startswith("Page: Done")


def test_it_can_be_used_from_any_event_loop(site: Site) -> None:
    from aepo.environments.browser import Browser

    site.pages["/"] = "Hello"

    async def run() -> str:
        world = Browser({"site.test": site.where}, seconds=SECONDS)
        try:
            return await world.reset("http://site.test/")
        finally:
            await world.close()

    assert [body(anyio.run(run)) for _ in range(2)] == ["Hello", "Hello"]


def test_its_state_is_address_title_and_a_picture(site: Site) -> None:
    from aepo.environments.browser import Browser

    site.pages["/"] = "<title>Shop</title><h1>Hello</h1>"

    async def run() -> dict[str, str]:
        world = Browser({"site.test": site.where}, seconds=SECONDS)
        await world.reset("http://site.test/")
        try:
            return await world.state
        finally:
            await world.close()

    state = event_loop.run(run)
    assert (state["address"], state["title"]) == ("http://site.test/", "Shop")
    assert state["picture"].startswith("data:image/jpeg;base64,/9j/")


def test_a_site_that_cannot_be_reached_is_a_lost_world_and_a_wrong_place_an_error(site: Site) -> None:
    from aepo.environments.browser import Browser

    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(EnvironmentLost, match="no connection to the server"):
        event_loop.run(Browser({"site.test": f"127.0.0.1:{port}"}).reset, "http://site.test/")
    with pytest.raises(EnvironmentLost, match=r"only site\.test can be visited"):
        event_loop.run(Browser({"site.test": site.where}).reset, "http://other.test/")
    with pytest.raises(ValueError, match="must be host:port"):
        Browser({"site.test": "http://127.0.0.1"})
    with pytest.raises(EnvironmentLost, match="not reset"):
        event_loop.run(Browser({"site.test": site.where}).back)
