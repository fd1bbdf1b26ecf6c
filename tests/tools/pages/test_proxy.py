"""The proxy, spoken to as a browser or an attacker would."""

import asyncio
from collections.abc import Awaitable, Callable

import anyio
import pytest

from aepo.tools.pages.connect import GuardedBackend
from aepo.tools.pages.guard import Guard
from aepo.tools.pages.proxy import Traffic, filtering_proxy
from tests.tools.pages.conftest import PUBLIC, Net, answer


def through(net: Net, *sent: bytes, max_bytes: int = 1 << 20) -> tuple[list[bytes], Traffic]:
    """Send each text on a connection of its own, all at once; what came back on each until its end."""

    async def one(port: int, text: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(text)
        try:
            received = await reader.read(-1)
        except ConnectionResetError:
            # The proxy closed while more was on its way to it.
            received = b""
        writer.close()
        return received

    async def main() -> tuple[list[bytes], Traffic]:
        guard = Guard(resolve=net.resolve)
        async with filtering_proxy(guard, GuardedBackend(guard, net.dial), max_bytes) as traffic:
            return list(await asyncio.gather(*(one(traffic.port, text) for text in sent))), traffic

    return anyio.run(main)


def test_a_request_is_passed_on_without_what_is_meant_for_the_proxy(net: Net) -> None:
    seen: list[bytes] = []
    net.dial = listening(net, seen)  # type: ignore[method-assign]
    net.site.answers["/a?b"] = answer("hi")
    request = (
        b"GET http://site.test/a?b HTTP/1.1\r\nHost: site.test\r\nProxy-Connection: keep-alive\r\nX-Own: 1\r\n\r\n"
    )
    (received,), _ = through(net, request)
    assert received.endswith(b"\r\n\r\nhi") and net.dialled == [(PUBLIC, 80)]
    assert seen == [b"GET /a?b HTTP/1.1\r\nHost: site.test\r\nX-Own: 1\r\nConnection: close\r\n\r\n"]


def listening(net: Net, seen: list[bytes]) -> Callable[[str, int, float], Awaitable[object]]:
    dial = net.dial

    async def dialled(address: str, port: int, seconds: float) -> object:
        stream = await dial(address, port, seconds)
        write = stream.write

        async def remembered(buffer: bytes, timeout: float | None = None) -> None:
            seen.append(buffer)
            await write(buffer, timeout)

        stream.write = remembered  # type: ignore[method-assign]
        return stream

    return dialled


def test_a_second_request_on_a_connection_never_reaches_the_first_ones_server(net: Net) -> None:
    seen: list[bytes] = []
    net.dial = listening(net, seen)  # type: ignore[method-assign]
    net.site.answers["/"] = answer("hi")
    first = b"POST http://site.test/ HTTP/1.1\r\nHost: site.test\r\nContent-Length: 4\r\n\r\nbody"
    through(net, first + b"GET http://bank.test/ HTTP/1.1\r\nCookie: secret\r\n\r\n")
    assert b"secret" not in b"".join(seen) and len(net.dialled) == 1


def test_a_tunnel_carries_bytes_both_ways(net: Net) -> None:
    net.site.answers["/in"] = answer("through")
    (received,), _ = through(net, b"CONNECT site.test:443 HTTP/1.1\r\n\r\nGET /in HTTP/1.1\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 200 Connection established\r\n\r\n") and received.endswith(b"through")
    assert net.dialled == [(PUBLIC, 443)]


@pytest.mark.parametrize(
    "first",
    [
        *("CONNECT 127.0.0.2:443", "CONNECT [::1]:443", "CONNECT 169.254.169.254:80", "CONNECT site.test:22"),
        *("CONNECT inside.test:443", "CONNECT 0x7f.2:443", "CONNECT u@site.test:443", "CONNECT nowhere.test:443"),
        *("GET http://127.0.0.2/", "GET http://site.test:25/", "GET file:///etc/passwd", "GET ftp://site.test/"),
        *("GET https://site.test/", "GET /", "GET http://inside.test/", "CONNECT", "\xff \xfe", ""),
    ],
)
def test_what_may_not_be_visited_is_answered_with_403(net: Net, first: str) -> None:
    net.names["inside.test"] = [PUBLIC, "10.0.0.1"]
    (received,), traffic = through(net, first.encode("latin-1") + b" HTTP/1.1\r\nHost: site.test\r\n\r\n")
    assert received.startswith(b"HTTP/1.1 403 Forbidden\r\n") and net.dialled == []
    assert len(traffic.problems) == 1


def test_a_server_that_is_down_is_answered_with_502(net: Net) -> None:
    net.site.close()
    (received,), traffic = through(net, b"CONNECT site.test:443 HTTP/1.1\r\n\r\n")
    assert (
        received.startswith(b"HTTP/1.1 502")
        and str(traffic.problems["site.test", 443]) == "no connection to the server"
    )


def test_no_more_than_the_limit_passes_over_all_connections_together(net: Net) -> None:
    net.site.answers["/"] = answer(b"x" * (300 << 10))
    request = b"GET http://site.test/ HTTP/1.1\r\n\r\n"
    received, traffic = through(net, *[request] * 8, max_bytes=1 << 20)
    assert sum(map(len, received)) <= 1 << 20 and traffic.exceeded.is_set()


def test_a_head_that_is_too_long_or_none_ends_the_connection(net: Net) -> None:
    received, _ = through(net, b"GET http://site.test/ HTTP/1.1\r\nX: " + b"x" * (200 << 10) + b"\r\n\r\n")
    assert received == [b""] and net.dialled == []
