"""Each service's requests and replies, on loopback."""

from __future__ import annotations

import io
import json
import logging
import traceback
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aepo.tools.base import ToolMisconfigured
from aepo.tools.search import Brave, BrightData, Hit, Retrieval, SearchBackend, SearXNG, Serper, Tavily, search
from aepo.tools.search.remote import clipped
from aepo.tools.service import BadServiceReply
from aepo.types import ToolError, ToolResult, ToolStatus
from tests.tools.loopback import Asked, Reply, answer, loopback, reset
from tests.tools.search.services import HITS, KEYS, REPLIES, TEXT, backend

CANARY = "canary-0f9d2c"
ALL = sorted(REPLIES)


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in KEYS:
        monkeypatch.setenv(variable, CANARY)


def called(name: str, reply: Reply, query: str = "zurich", top_k: int = 5) -> tuple[ToolResult, list[Asked]]:
    async def call() -> tuple[ToolResult, list[Asked]]:
        async with loopback(reply) as server:
            return await search(backend(name, server.url), top_k).call({"query": query}), server.asked

    return anyio.run(call)


@pytest.mark.parametrize("name", ALL)
def test_a_reply_becomes_one_line_a_hit(name: str) -> None:
    result, asked = called(name, answer(REPLIES[name]))
    where = "" if name == "retrieval" else " (https://example.org/zurich)"
    assert result.text == f"- Zürich & its lake: {TEXT}{where}" and result.status is ToolStatus.OK
    assert len(asked) == 1


@pytest.mark.parametrize("name", ALL)
def test_a_reply_is_read_as_documented(name: str) -> None:
    assert backend(name).read(REPLIES[name]) == [HITS[name]]


def test_what_brave_is_sent() -> None:
    _, [asked] = called("brave", answer(REPLIES["brave"]), "  zürich \n lake ")
    method, target, _ = asked.line.split(" ")
    assert method == "GET" and asked.headers["x-subscription-token"] == CANARY
    query = parse_qs(urlsplit(target).query)
    assert query.pop("q") == ["zürich lake"] and query.pop("count") == ["5"]
    assert query == {"country": ["US"], "result_filter": ["web"], "text_decorations": ["false"]}


def test_what_serper_is_sent() -> None:
    _, [asked] = called("serper", answer(REPLIES["serper"]))
    assert asked.line.startswith("POST") and asked.headers["x-api-key"] == CANARY
    assert json.loads(asked.body) == {"q": "zurich", "num": 5, "gl": "us", "hl": "en"}


def test_what_tavily_is_sent() -> None:
    _, [asked] = called("tavily", answer(REPLIES["tavily"]))
    assert asked.line.startswith("POST") and asked.headers["authorization"] == f"Bearer {CANARY}"
    assert json.loads(asked.body) == {"query": "zurich", "max_results": 5, "search_depth": "basic"}


def test_what_bright_data_is_sent() -> None:
    _, [asked] = called("brightdata", answer(REPLIES["brightdata"]), "zurich & lake")
    sent = json.loads(asked.body)
    page = urlsplit(sent.pop("url"))
    assert asked.line.startswith("POST") and asked.headers["authorization"] == f"Bearer {CANARY}"
    assert sent == {"zone": "serp_zone", "format": "raw"} and page.netloc + page.path == "www.google.com/search"
    assert parse_qs(page.query) == {"q": ["zurich & lake"], "gl": ["us"], "hl": ["en"], "brd_json": ["1"]}


def test_what_searxng_is_sent() -> None:
    _, [asked] = called("searxng", answer(REPLIES["searxng"]))
    assert asked.line == "GET /search?q=zurich&format=json&language=en HTTP/1.1"
    assert "authorization" not in asked.headers


def test_what_a_retrieval_server_is_sent() -> None:
    _, [asked] = called("retrieval", answer(REPLIES["retrieval"]))
    assert asked.line == "POST /retrieve HTTP/1.1"
    assert json.loads(asked.body) == {"queries": ["zurich"], "topk": 5, "return_scores": True}


def test_a_retrieval_server_may_leave_out_the_scores() -> None:
    made = backend("retrieval")
    assert made.read({"result": [[{"id": "1", "contents": '"Title"\ntext'}]]}) == [Hit("Title", "", "text")]


@pytest.mark.parametrize("bad", [None, {}, 3, {"document": {"id": "1"}}, {"document": None, "score": 1}, []])
def test_one_bad_document_of_a_retrieval_server_costs_no_other(bad: Any) -> None:
    made = backend("retrieval")
    good = {"document": {"title": "T", "text": "x"}, "score": 2}
    assert made.read({"result": [[good, bad, "a text"]]}) == [Hit("T", "", "x", 2), Hit("", "", "a text")]
    with pytest.raises(BadServiceReply):
        made.read({"result": [[bad]]})


@pytest.mark.parametrize("bad", [None, "a", 3, []])
def test_one_bad_entry_of_a_service_costs_no_other(bad: Any) -> None:
    good = {"title": "T", "link": "https://a.example", "snippet": "x"}
    assert backend("serper").read({"organic": [bad, good]}) == [Hit("T", "https://a.example", "x")]
    with pytest.raises(BadServiceReply):
        backend("serper").read({"organic": [bad]})


@pytest.mark.parametrize(
    ("name", "reply"),
    [("brave", {"type": "search"}), ("serper", {}), ("tavily", {"results": []}), ("brightdata", {"general": {}}),
     ("searxng", {"results": []}), ("retrieval", {"result": [[]]})],
)  # fmt: skip
def test_finding_nothing_is_said_and_is_no_failure(name: str, reply: Any) -> None:
    result, _ = called(name, answer(reply))
    assert (result.text, result.status) == ("nothing found", ToolStatus.OK)


def test_a_searxng_whose_engines_do_not_answer_has_failed() -> None:
    reply = {"results": [], "unresponsive_engines": [["google", "CAPTCHA"]]}
    assert called("searxng", answer(reply))[0].status is ToolStatus.ERROR


@pytest.mark.parametrize("name", ALL)
def test_a_service_that_is_down_is_an_error_that_the_model_sees(name: str) -> None:
    result, _ = called(name, reset)
    assert (result.text, result.status) == ("search is unavailable now; go on without it", ToolStatus.ERROR)


@pytest.mark.parametrize(
    ("name", "status", "body", "why"),
    [
        ("brave", 401, b"", "refuses the key (HTTP 401); check BRAVE_API_KEY"),
        ("brave", 422, b'{"code": "SUBSCRIPTION_TOKEN_INVALID"}', "refuses the key (HTTP 422); check BRAVE_API_KEY"),
        ("serper", 403, b'{"message": "Unauthorized."}', "refuses the key (HTTP 403); check SERPER_API_KEY"),
        ("serper", 400, b'{"message": "Not enough credits"}', "has no credits left (HTTP 400); check SERPER_API_KEY"),
        ("tavily", 432, b"", "has used up the plan of this key (HTTP 432); check TAVILY_API_KEY"),
        ("brightdata", 401, b"", "refuses the key (HTTP 401); check BRIGHTDATA_API_KEY"),
        ("searxng", 403, b"", "gives no JSON: add json to search.formats in its settings.yml (HTTP 403)"),
    ],
)  # fmt: skip
def test_a_refusal_stops_the_run_and_says_what_to_change(name: str, status: int, body: bytes, why: str) -> None:
    async def call() -> str:
        async with loopback(answer(body, status)) as server:
            with pytest.raises(ToolMisconfigured) as error:
                await search(backend(name, server.url)).call({"query": "zurich"})
            return str(error.value)

    told = anyio.run(call)
    assert told.startswith(name) and told.endswith(why)


@pytest.mark.parametrize("name", ALL)
def test_a_query_without_words_is_not_sent(name: str) -> None:
    result, asked = called(name, answer({}), " \n ")
    assert (result.text, asked) == ("the query has no words", [])


@pytest.mark.parametrize("name", ALL)
def test_a_query_may_hold_anything(name: str) -> None:
    for query in ("zurich \ud800", "zurich\0", "zurich " * 2000, "x" * 10_000, '"zurich" OR \\', "🦜"):
        result, [asked] = called(name, answer(REPLIES[name]), query)
        assert result.status is ToolStatus.OK and len(asked.line) < 20_000


def test_queries_that_differ_in_white_space_only_are_asked_once() -> None:
    async def ask() -> int:
        async with loopback(answer(REPLIES["tavily"])) as server:
            made = search(backend("tavily", server.url))
            async with anyio.create_task_group() as tasks:
                for spaces in range(1, 257):
                    tasks.start_soon(made.call, {"query": "zurich" + " " * spaces + "lake"})
            return len(server.asked)

    assert anyio.run(ask) == 1


def test_a_long_query_is_cut_at_a_word() -> None:
    assert clipped("one two three", 9, 50) == "one two" and clipped("one two three", 99, 2) == "one two"
    assert clipped("x" * 500, 400, 50) == "x" * 400


@pytest.mark.parametrize("name", ALL)
def test_every_service_is_a_backend(name: str) -> None:
    made = backend(name)
    assert isinstance(made, SearchBackend) and made.name == name and made.version.startswith("1")
    with pytest.raises(ValueError, match=f"{name} gives at most {made.most_hits} hits"):
        search(made, top_k=made.most_hits + 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
NAMES = st.sampled_from(
    [
        "web", "results", "organic", "result", "title", "url", "link", "content", "contents", "document", "score",
        "snippet", "description", "unresponsive_engines",
    ]
)  # fmt: skip
LIKELY = st.recursive(JSON, lambda inner: st.dictionaries(NAMES, inner) | st.lists(inner, max_size=3), max_leaves=30)


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(reply=LIKELY)
def test_whatever_comes_is_read_as_hits_or_is_a_bad_reply(name: str, reply: Any) -> None:
    try:
        found = backend(name).read(reply)
    except BadServiceReply:
        return
    assert all(isinstance(hit, Hit) and hit.score == hit.score and "\n" not in hit.title + hit.text for hit in found)
    "".join(hit.title + hit.url + hit.text for hit in found).encode()


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(where=st.lists(st.integers(0, 30), max_size=6), odd=JSON)
def test_a_real_reply_with_one_odd_part_is_read_or_is_a_bad_reply(where: list[int], odd: Any) -> None:
    for name in ALL:
        with suppress(BadServiceReply):
            backend(name).read(_with(REPLIES[name], where, odd))


def _with(value: Any, where: list[int], odd: Any) -> Any:
    if not where or not isinstance(value, dict | list) or not value:
        return odd
    if isinstance(value, list):
        at = where[0] % len(value)
        return [*value[:at], _with(value[at], where[1:], odd), *value[at + 1 :]]
    name = list(value)[where[0] % len(value)]
    return value | {name: _with(value[name], where[1:], odd)}


@pytest.mark.parametrize("name", ["brave", "brightdata", "serper", "tavily"])
@pytest.mark.parametrize(
    "reply",
    [
        answer({"error": f"bad key {CANARY}"}, 401),
        answer({"error": f"bad key {CANARY}"}, 500),
        answer({"error": f"bad key {CANARY}"}, 400),
        answer(CANARY.encode()),
        answer({"results": [{"title": CANARY, "content": CANARY}], "organic": [{"title": CANARY, "snippet": CANARY}]}),
        answer({"results": CANARY, "organic": CANARY, "web": CANARY}),
        reset,
    ],
)
def test_a_key_is_neither_logged_nor_raised_nor_shown_nor_kept(name: str, reply: Reply) -> None:
    log = io.StringIO()
    handler, root = logging.StreamHandler(log), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    seen: list[str] = []

    async def call() -> None:
        async with loopback(reply) as server:
            made = backend(name, server.url)
            tool = search(made)
            seen.extend(
                [repr(made), str(made), repr(made.service), str(vars(made)), str(vars(made.service)), repr(tool)]
            )
            seen.append(repr(made.request("zurich", 3)))
            try:
                seen.append(repr(await tool.call({"query": "zurich"})))
                seen.append(repr(await made.search("zurich", 3)))
            except (ToolError, ToolMisconfigured) as error:
                # All frames with their variables, but for this one, which knows what the server has received.
                assert error.__traceback__ is not None
                below = error.__traceback__.tb_next
                seen.extend(traceback.TracebackException(type(error), error, below, capture_locals=True).format())
            assert all(CANARY in str(asked.headers) for asked in server.asked) and server.asked

    try:
        anyio.run(call)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert "send_request_headers" in log.getvalue()
    assert CANARY not in log.getvalue() + "".join(seen)


@pytest.mark.parametrize(("made", "variable"), list(zip([Brave, Serper, Tavily, BrightData], KEYS, strict=True)))
def test_a_missing_key_is_told_at_once(made: Any, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variable)
    with pytest.raises(ValueError, match=f"^the environment variable {variable} is not set"):
        made("zone") if made is BrightData else made()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ftp://a",
        "http://",
        "http://me:secret@a.b/",
        "http://a.b/?key=secret",
        "http://a.b/#secret",
    ],
)
@pytest.mark.parametrize("made", [Retrieval, SearXNG])
def test_an_address_that_is_none_or_holds_a_secret_is_refused(made: Any, url: str) -> None:
    with pytest.raises(ValueError, match="address") as error:
        made(url)
    assert "secret" not in str(error.value)
