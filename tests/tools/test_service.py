"""What a service may do to a call, and what becomes of it."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.abc import SocketStream

from aepo.tools.base import ToolMisconfigured, run_call, tool
from aepo.tools.key import ApiKey
from aepo.tools.service import BadServiceReply, HttpService, Request, ServiceLimits
from aepo.types import ToolCall, ToolError
from tests.tools.loopback import Loopback, Reply, Time, answer, drip, endless, loopback, raw, reset

UNAVAILABLE = "search is unavailable now; go on without it"


def service(time: Time | None = None, key: ApiKey | None = None, **limits: Any) -> HttpService:
    time = time or Time()
    return HttpService("acme", "search", key, ServiceLimits(**limits), clock=time.clock, sleep=time.sleep)


def as_it_is(reply: Any) -> Any:
    return reply


def played(
    replies: list[Reply], ask: Callable[[HttpService, Loopback], Awaitable[Any]], made: HttpService
) -> tuple[Any, Loopback]:
    """What `ask` gives while a server plays these replies; an error that is meant for somebody is given as its text."""

    async def play() -> tuple[Any, Loopback]:
        async with loopback(*replies) as server:
            try:
                return await ask(made, server), server
            except (ToolError, ToolMisconfigured) as error:
                return str(error), server
            finally:
                await made.aclose()

    return anyio.run(play)


def fetched(replies: list[Reply], made: HttpService | None = None, **request: Any) -> tuple[Any, int]:
    """The outcome of one call, and how often it was sent."""

    async def ask(made: HttpService, server: Loopback) -> Any:
        return await made.fetch(Request("GET", server.url, **request), as_it_is)

    outcome, server = played(replies, ask, made or service())
    return outcome, len(server.asked)


def test_a_good_reply_is_decoded() -> None:
    assert fetched([answer({"a": [1, "é"]})]) == ({"a": [1, "é"]}, 1)


def test_a_packed_reply_is_unpacked() -> None:
    packed = gzip.compress(b'{"a": 1}')
    assert fetched([answer(packed, headers={"Content-Encoding": "gzip"})]) == ({"a": 1}, 1)


def test_get_and_post_send_what_they_were_given() -> None:
    async def ask(made: HttpService, server: Loopback) -> None:
        await made.fetch(Request.get(server.url + "/find", {"q": "a b&c=é"}), as_it_is)
        await made.fetch(Request.post(server.url + "/find", {"q": "é"}), as_it_is)

    _, server = played([answer({})], ask, service())
    get, post = server.asked
    assert get.line == "GET /find?q=a+b%26c%3D%C3%A9 HTTP/1.1" and get.body == b""
    assert post.line == "POST /find HTTP/1.1" and post.body == b'{"q": "\\u00e9"}'
    assert post.headers["content-type"] == "application/json"


def test_too_many_requests_is_tried_again_after_the_time_that_the_service_asks_for() -> None:
    time = Time()
    replies = [answer({}, 429, {"Retry-After": "7"}), answer({"ok": 1})]
    assert fetched(replies, service(time)) == ({"ok": 1}, 2)
    assert time.slept == [7.0]


def test_a_wait_beyond_the_deadline_is_not_begun_and_holds_the_next_call_back_too() -> None:
    time = Time()
    made = service(time)
    assert fetched([answer({}, 429, {"Retry-After": "3600"})], made) == (UNAVAILABLE, 1)
    assert fetched([answer({"ok": 1})], made) == (UNAVAILABLE, 0)
    time.now += 3600
    assert fetched([answer({"ok": 1})], made) == ({"ok": 1}, 1)
    assert time.slept == []


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_fault_that_passes_is_not_noticed(status: int) -> None:
    time = Time()
    assert fetched([answer(b"oops", status), answer(b"oops", status), answer({"ok": 1})], service(time)) == (
        {"ok": 1},
        3,
    )
    assert 0.25 <= time.slept[0] <= 0.5 <= time.slept[1] <= 1.0


# A function's own name would hold its address, which differs between the processes that share the tests.
@pytest.mark.parametrize(
    "fault",
    [
        answer(b'{"results": [{"ti'),
        answer(b"<html>busy</html>"),
        answer(b""),
        answer(b"\xff\xfe"),
        answer(b"[" * 100_000),
        answer(b"1" * 5000),
        answer(b"no gzip", headers={"Content-Encoding": "gzip"}),
        answer(gzip.compress(b'{"a": 1}')[:-12], headers={"Content-Encoding": "gzip"}),
        reset,
        raw(),
        raw(b"HTTP/1.1 200 OK\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{}"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\n{}"),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
        raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    ],
    ids=range(16),
)
def test_a_broken_reply_or_connection_is_tried_again(fault: Reply) -> None:
    assert fetched([fault, answer({"ok": 1})]) == ({"ok": 1}, 2)
    assert fetched([fault], service(attempts=3)) == (UNAVAILABLE, 3)


@pytest.mark.parametrize(
    "fault", [reset, raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")], ids=["reset", "cut"]
)
def test_what_must_not_happen_twice_is_not_sent_again_once_it_may_have_arrived(fault: Reply) -> None:
    assert fetched([fault, answer({"ok": 1})], repeatable=False) == (UNAVAILABLE, 1)


def test_a_reply_that_drips_ends_with_the_time_for_a_try() -> None:
    assert fetched([drip], service(attempts=2, attempt_seconds=2.0)) == (UNAVAILABLE, 2)


def test_an_endless_reply_is_read_up_to_the_limit() -> None:
    assert fetched([endless], service(reply_bytes=100_000)) == (UNAVAILABLE, 1)


def test_a_reply_that_unpacks_to_more_than_the_limit_is_not_unpacked() -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    made = service(reply_bytes=100_000)
    assert fetched([answer(bomb, headers={"Content-Encoding": "gzip"})], made) == (UNAVAILABLE, 1)


def test_an_encoding_that_was_not_asked_for_is_not_guessed_at() -> None:
    assert fetched([answer(b"{}", headers={"Content-Encoding": "br"})]) == (UNAVAILABLE, 1)


def test_a_service_that_is_down_is_told_to_the_model_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    time = Time()
    made = service(time, attempts=3)

    async def ask() -> list[str]:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        await listener.aclose()
        told = []
        for number in range(3):
            with pytest.raises(ToolError) as error:
                await made.fetch(Request("GET", f"http://127.0.0.1:{port}/{number}"), as_it_is)
            told.append(str(error.value))
        return told

    with caplog.at_level(logging.WARNING, "aepo"):
        assert anyio.run(ask) == [UNAVAILABLE] * 3
    assert len(caplog.records) == 1 and "is unavailable: no connection (ConnectError" in caplog.text
    # Three tries of the first call; the others do not wait for what is known to be down.
    assert len(time.slept) == 2


def test_a_service_that_is_back_is_logged_and_gets_all_its_tries_again(caplog: pytest.LogCaptureFixture) -> None:
    made = service(attempts=2)
    with caplog.at_level(logging.WARNING, "aepo"):
        assert fetched([answer(b"", 500)], made) == (UNAVAILABLE, 2)
        assert fetched([answer(b"", 500)], made) == (UNAVAILABLE, 1)
        assert fetched([answer({})], made) == ({}, 1)
        assert fetched([answer(b"", 500), answer({})], made) == ({}, 2)
    assert [record.getMessage().split(": ")[-1] for record in caplog.records] == ["HTTP 500", "acme is available again"]


@pytest.mark.parametrize("status", [400, 413, 414, 422])
def test_a_query_that_the_service_does_not_take_is_told_and_not_repeated(status: int) -> None:
    assert fetched([answer(b"too long", status)]) == ("search does not take this query; try other words", 1)


def test_a_reply_of_another_shape_is_not_asked_for_again(caplog: pytest.LogCaptureFixture) -> None:
    async def ask(made: HttpService, server: Loopback) -> Any:
        def read(reply: Any) -> Any:
            raise BadServiceReply("no hits")

        return await made.fetch(Request("GET", server.url), read)

    told, server = played([answer([])], ask, service())
    assert (told, len(server.asked)) == (UNAVAILABLE, 1)
    assert caplog.messages[0].endswith("sent what its documentation does not say: no hits")


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (401, "refuses the key (HTTP 401); check ACME_KEY"),
        (403, "refuses the key (HTTP 403); check ACME_KEY"),
        (402, "wants to be paid (HTTP 402); check ACME_KEY"),
        (404, "has nothing at this address (HTTP 404); check ACME_KEY"),
        (301, "has moved (HTTP 301); check ACME_KEY"),
    ],
)
def test_what_only_a_person_can_mend_stops_the_run(monkeypatch: pytest.MonkeyPatch, status: int, why: str) -> None:
    monkeypatch.setenv("ACME_KEY", "abc-123")
    made = service(key=ApiKey("ACME_KEY"))

    async def ask(made: HttpService, server: Loopback) -> Any:
        @tool
        async def look() -> str:
            """Look."""
            return str(await made.fetch(Request("GET", server.url + "/v1"), as_it_is))

        with pytest.raises(ToolMisconfigured) as error:
            await run_call({"look": look}, ToolCall("look", {}), on_bug="tell")
        return str(error.value).replace(server.url, "")

    elsewhere = {"Location": "http://127.0.0.1:1/"}
    told, server = played([answer(b"bad abc-123", status, elsewhere)], ask, made)
    assert told == f"acme (/v1) {why}" and len(server.asked) == 1


def test_a_key_that_was_good_before_is_tried_again_before_the_run_is_stopped() -> None:
    made = service(attempts=3)
    assert fetched([answer({}), answer(b"", 403)], made) == ({}, 1)
    assert fetched([answer(b"", 403), answer({"ok": 1})], made) == ({"ok": 1}, 2)
    told, times = fetched([answer(b"", 403)], made)
    assert told.endswith("refuses the key (HTTP 403)") and times == 3


def test_equal_requests_in_flight_are_sent_once() -> None:
    async def ask(made: HttpService, server: Loopback) -> list[Any]:
        results: list[Any] = []

        async def one(number: int) -> None:
            results.append(await made.fetch(Request.get(server.url, {"q": "same"}), as_it_is))

        async with anyio.create_task_group() as tasks:
            for number in range(256):
                tasks.start_soon(one, number)
        return results

    results, server = played([answer({"n": 1}), answer({"n": 2})], ask, service())
    assert results == [{"n": 1}] * 256 and len(server.asked) == 1


def test_those_who_wait_for_an_equal_request_share_its_failure() -> None:
    async def ask(made: HttpService, server: Loopback) -> list[str]:
        told: list[str] = []

        async def one() -> None:
            try:
                await made.fetch(Request("GET", server.url), as_it_is)
            except ToolError as error:
                told.append(str(error))

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(one)
        return told

    told, server = played([answer(b"", 500)], ask, service(attempts=2))
    assert told == [UNAVAILABLE] * 20 and len(server.asked) == 2


def test_when_the_one_who_asks_is_cancelled_another_asks_in_its_place() -> None:
    async def ask(made: HttpService, server: Loopback) -> list[Any]:
        results: list[Any] = []
        request = Request("GET", server.url)
        first = anyio.CancelScope()

        async def leader() -> None:
            with first:
                await made.fetch(request, as_it_is)

        async def follower() -> None:
            results.append(await made.fetch(request, as_it_is))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leader)
            while not server.asked:
                await anyio.lowlevel.checkpoint()
            for _ in range(5):
                tasks.start_soon(follower)
            await anyio.wait_all_tasks_blocked()
            first.cancel()
        return results

    async def silent(stream: SocketStream) -> None:
        await anyio.sleep_forever()

    results, server = played([silent, answer({"ok": 1})], ask, service())
    assert results == [{"ok": 1}] * 5 and len(server.asked) == 2


def test_with_one_place_calls_are_served_one_after_the_other_in_the_order_they_came() -> None:
    async def ask(made: HttpService, server: Loopback) -> list[int]:
        done: list[int] = []

        async def one(number: int) -> None:
            await made.fetch(Request.get(server.url, {"q": str(number)}), as_it_is)
            done.append(number)

        async with anyio.create_task_group() as tasks:
            for number in range(256):
                tasks.start_soon(one, number)
        return done

    done, server = played([answer({})], ask, service(concurrency=1))
    assert done == list(range(256)) and server.most_open == 1 and len(server.asked) == 256


def test_calls_begin_no_faster_than_the_rate() -> None:
    time = Time()
    made = service(time, rate=4, concurrency=1)

    async def ask(made: HttpService, server: Loopback) -> None:
        for number in range(5):
            await made.fetch(Request.get(server.url, {"q": str(number)}), as_it_is)

    played([answer({})], ask, made)
    assert time.slept == [0.25] * 4


def test_one_service_serves_several_event_loops() -> None:
    made = service()
    assert [fetched([answer({"n": number})], made)[0] for number in range(3)] == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_requests_do_not_go_where_a_reply_points() -> None:
    async def ask(made: HttpService, server: Loopback) -> None:
        async with loopback(answer({})) as other:
            with pytest.raises(ToolMisconfigured, match="has moved"):
                await made.fetch(Request("GET", server.url), as_it_is)
            assert not other.asked

    async def redirect(stream: SocketStream, to: str = "http://127.0.0.1:9/") -> None:
        await answer(b"", 302, {"Location": to})(stream)

    played([partial(redirect)], ask, service())


@pytest.mark.parametrize("limits", [{"rate": 0}, {"concurrency": 0}, {"deadline": -1.0}, {"attempts": float("nan")}])
def test_limits_that_make_no_sense_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"service limits: {next(iter(limits))} is"):
        ServiceLimits(**limits)
