"""The tool as a model meets it: from an address to a text, or to a line that says why not."""

import json
import re
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from aepo.tools.base import Tool
from aepo.tools.cache.layer import cached
from aepo.tools.cache.store import Store
from aepo.tools.pages.browse import browse, told_of_pdf
from aepo.tools.pages.extract import Extract
from aepo.tools.sandbox.base import Sandbox
from aepo.types import ToolError, ToolResult, ToolStatus
from tests.tools.pages.conftest import Net, answer, redirect


def tool(net: Net, reader: Sandbox, allow: tuple[str, ...] = (), max_characters: int = 4000) -> Tool:
    return browse(allow, max_characters=max_characters, sandbox=reader, resolve=net.resolve, dial=net.dial)


def call(made: Tool, url: str, **more: object) -> ToolResult:
    return anyio.run(made.call, {"url": url, **more})


def test_a_page_is_read(net: Net, reader: Sandbox) -> None:
    net.site.answers["/"] = answer("<title>Cities</title><p>Zürich is a city.")
    made = tool(net, reader)
    result = call(made, "http://site.test/")
    assert (result.text, result.status) == ("Cities\n\nZürich is a city.", ToolStatus.OK)
    assert made.name == "browse" and made.parameters["required"] == ["url"]


def test_a_long_text_is_read_part_after_part(net: Net, reader: Sandbox) -> None:
    net.site.answers["/"] = answer("0123456789" * 25, "text/plain")
    made = tool(net, reader, max_characters=100)
    parts = [call(made, "http://site.test/", page=number).text for number in (1, 2, 3, 4)]
    assert parts[0] == "0123456789" * 10 + "\n[part 1 of 3; page=2 reads on]"
    assert parts[1] == "0123456789" * 10 + "\n[part 2 of 3; page=3 reads on]"
    assert parts[2] == "0123456789" * 5
    assert parts[3] == "http://site.test/: there is no part 4, the last one is 3"
    assert call(made, "http://site.test/", page=0).text == "page and part count from 1"


def test_where_a_page_leads_is_told_so_that_the_next_call_can_go_there(net: Net, reader: Sandbox) -> None:
    net.site.answers["/a/"] = answer(
        "<title>Menu</title><p>Choose.</p><a href='../b'>One</a> <a href=//site.test/c>Two</a>"
    )
    net.site.answers["/b"] = answer("<p>the first page", Content_Encoding="none")
    net.site.answers["/"] = redirect(Location="/a/")
    made = browse(links=1, sandbox=reader, resolve=net.resolve, dial=net.dial)
    first = call(made, "http://site.test/").text
    assert first.startswith("Menu\n\nChoose.")
    assert first.endswith("\n\nLinks:\n- One: http://site.test/b\n[part 1 of 2; page=2 reads on]")
    assert call(made, "http://site.test/", page=2).text == "Links:\n- Two: http://site.test/c"
    assert call(made, "http://site.test/b").text == "the first page"
    assert call(made, "http://site.test/b", part=2).text.endswith("page counts the parts of this text")


@pytest.mark.parametrize(
    ("found", "asked", "said"),
    [
        (Extract("text", parts=1, pages=1, last=1), (1, 1), "text\n[page 1 of 1]"),
        (Extract("text", parts=1, pages=9, last=3), (1, 1), "text\n[pages 1 to 3 of 9; page=4 reads on]"),
        (
            Extract("text", parts=3, pages=9, last=2),
            (2, 2),
            "text\n[page 2 of 9, part 2 of 3; page=2, part=3 reads on]",
        ),
        (Extract("text", parts=3, pages=9, last=2), (2, 3), "text\n[page 2 of 9, part 3 of 3; page=3 reads on]"),
        (
            Extract("", parts=0, pages=9, last=4),
            (2, 1),
            "there is no text on pages 2 to 4 of 9, only pictures; page=5 reads on",
        ),
        (Extract("", parts=0, pages=9, last=10), (10, 1), "there is no page 10, the last one is 9"),
        (Extract("", parts=2, pages=9, last=1), (1, 3), "there is no part 3 of page 1, the last one is 2"),
    ],
)
def test_where_one_is_in_a_pdf_is_told(found: Extract, asked: tuple[int, int], said: str) -> None:
    try:
        told = told_of_pdf(found, *asked)
    except ToolError as error:
        told = str(error)
    assert told == said


TOLD = {
    "http://127.0.0.2/": " refused: address is not public",
    "http://[::1]:8080/admin": " refused: address is not public",
    "http://site.test:22/": " refused: port 22 is not one of the web",
    "ftp://site.test/": " refused: only addresses that begin with http:// or https:// can be opened",
    "http://site.test/missing": ": HTTP 404",
    "http://site.test/in": " refused: it redirects to http://u:p@site.test/: user names in addresses are not allowed",
    "http://site.test/big": ": too large: more than 5 MiB",
    "http://site.test/image": ": of type image/png, which cannot be read",
    "http://site.test/empty": ": there is no text on this page",
    "http://nowhere.test/": ": no such host",
    "http://site.test/bad.pdf": ": the page could not be read: PdfStreamError: Stream has ended unexpectedly",
}


@pytest.mark.parametrize("url", TOLD)
def test_what_goes_wrong_is_told_in_one_line(net: Net, reader: Sandbox, url: str) -> None:
    net.site.answers |= {
        "/in": redirect(Location="http://u:p@site.test/"),
        "/big": answer(b"x" * (6 << 20), "text/plain").replace(b"Content-Length", b"X-Length"),
        "/image": answer(b"\x89PNG", "image/png"),
        "/empty": answer(b"", "text/plain"),
        "/bad.pdf": answer(b"%PDF-1.4 garbage", "application/pdf"),
    }
    result = call(tool(net, reader), url)
    assert (result.text, result.status) == (url + TOLD[url], ToolStatus.ERROR)


def test_a_long_address_is_not_repeated_in_full(net: Net, reader: Sandbox) -> None:
    text = call(tool(net, reader), "http://" + "a" * 5000).text
    assert text == f"http://{'a' * 193}... refused: longer than 2000 characters"


def test_an_intranet_is_open_when_the_user_says_so(net: Net, reader: Sandbox) -> None:
    net.names["wiki.corp"] = ["10.0.0.5"]
    net.site.answers["/"] = answer("our wiki", "text/plain")
    assert call(tool(net, reader), "http://wiki.corp/").text == "http://wiki.corp/ refused: address is not public"
    assert call(tool(net, reader, allow=("wiki.corp",)), "http://wiki.corp/").text == "our wiki"


def test_many_pages_at_once_are_kept_apart_and_one_tool_serves_several_loops(net: Net, reader: Sandbox) -> None:
    made = tool(net, reader)
    texts: dict[int, str] = {}
    for number in range(12):
        net.site.answers[f"/{number}"] = answer(json.dumps([number]), "application/json")

    async def main() -> None:
        async def one(number: int) -> None:
            texts[number] = (await made.call({"url": f"http://site.test/{number}"})).text

        async with anyio.create_task_group() as tasks:
            for number in range(12):
                tasks.start_soon(one, number)

    for _ in range(2):
        anyio.run(main)
        assert texts == {number: f"[{number}]" for number in range(12)}
        texts.clear()


def test_equal_calls_may_be_answered_by_kept_results_of_the_same_parsers_and_settings(
    net: Net, reader: Sandbox
) -> None:
    made = tool(net, reader)
    assert made.pure and made.service == "pages" and made.details == {"sandbox": reader.name}
    assert made.canonical({"url": "http://a.test/"}) == '{"page":1,"part":1,"url":"http://a.test/"}'
    opened = tool(net, reader, allow=("wiki.corp", "10.0.0.0/8"))
    assert opened.details["allow"] == "10.0.0.0/8, wiki.corp"
    versions = [made.version, opened.version, tool(net, reader, max_characters=100).version]
    assert len(set(versions)) == 3 and all(re.fullmatch(r"lxml .*, pypdf .*/plain/.*", v) for v in versions)


def test_a_kept_page_is_not_fetched_again_and_a_failure_is(net: Net, reader: Sandbox, tmp_path: Path) -> None:
    store = Store(tmp_path / "tools.sqlite")
    store.open()
    made = cached(tool(net, reader), store, "cached")
    net.site.answers["/"] = answer("<p>hello")
    try:
        assert [call(made, "http://site.test/").text for _ in range(2)] == ["hello", "hello"]
        assert [call(made, "http://site.test/none").text for _ in range(2)] == ["http://site.test/none: HTTP 404"] * 2
    finally:
        store.close()
    assert net.site.asked == ["/", "/none", "/none"]


def test_a_sandbox_is_asked_for_by_name_as_for_programs() -> None:
    made = browse(sandbox="unsafe_no_sandbox")
    assert made.details == {"sandbox": "unsafe_no_sandbox"}
    with pytest.raises(ValueError, match="sandbox 'sandbag' is unknown"):
        browse(sandbox="sandbag")


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0},
        {"max_bytes": 0},
        {"max_characters": 20_000},
        {"max_characters": 0},
        {"links": -1},
        {"links": 1000},
        {"allow": ["a/b"]},
        {"allow": "wiki.corp"},
    ],
)
def test_a_setting_that_makes_no_sense_is_an_error_at_once(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        browse(**wrong)  # type: ignore[arg-type]


def test_importing_the_tool_loads_none_of_its_libraries() -> None:
    code = "import sys, aepo.tools.pages.browse\nprint({'httpx', 'lxml', 'pypdf', 'playwright'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
