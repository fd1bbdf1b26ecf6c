"""Fetching: every attack on the address, on the connection and on the body, against a real server."""

import gzip
import os
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress

import anyio
import httpcore
import pytest
import trustme

from aepo.tools.base import ToolTimeout
from aepo.tools.pages.body import ContentKind
from aepo.tools.pages.connect import GuardedBackend, trust
from aepo.tools.pages.fetch import FetchedDocument, Fetcher
from aepo.tools.pages.guard import Guard, Refused
from aepo.types import ToolError
from tests.tools.pages.conftest import OTHER, PUBLIC, Net, Site, answer, redirect

LIMIT = 1 << 20


def fetch(
    net: Net, address: str, allow: tuple[str, ...] = (), seconds: float = 20, context: ssl.SSLContext | None = None
) -> FetchedDocument:
    guard = Guard(allow, net.resolve)
    fetcher = Fetcher(guard, GuardedBackend(guard, net.dial), context or trust(), seconds, LIMIT)
    return anyio.run(fetcher.fetch, address)


def test_a_page_comes_with_its_kind_and_charset(net: Net) -> None:
    net.site.answers["/a?b"] = answer("<p>hi", "Text/HTML; Charset='ISO-8859-1'")
    assert fetch(net, "http://site.test/a?b") == FetchedDocument(
        "http://site.test/a?b", ContentKind.HTML, "iso-8859-1", b"<p>hi"
    )
    assert net.dialled == [(PUBLIC, 80)]


@pytest.mark.parametrize(
    "address",
    [
        *("http://127.0.0.2/", "http://127.2/", "http://0x7f.0.0.2/", "http://2130706434/", "http://0/", "http://0.0.0.0/"),
        *("http://169.254.169.254/latest/meta-data/", "http://[::1]/", "http://[::ffff:127.0.0.2]/", "http://[::]/"),
        *("http://[64:ff9b::7f00:2]/", "http://[fe80::1]/", "http://[fd00:ec2::254]/", "http://100.100.100.200/"),
        *("http://017700000002/", "https://10.1.1.1:8443/", "http://localhost/", "http://LOCALHOST./", "http://00000/"),
        *("http://0x7f000002/", "http://127.0.2/", "http://0xA9FEA9FE/", "http://169.254.43518/", "http://127。0。0。2/"),
        *("http://[::ffff:7f00:2]/", "http://[::127.0.0.2]/", "http://[::ffff:0:127.0.0.2]/", "http://[::ffff:a9fe:a9fe]/"),
        *("http://[64:ff9b::a9fe:a9fe]/", "http://[64:ff9b:1::7f00:2]/", "http://[2002:7f00:2::]/", "http://[2002:a00:1::1]/"),
        *("http://[2001:0:5db8:d822::80ff:fffd]/", "http://[2606:4700::5efe:10.0.0.1]/", "http://[fec0::1]/"),
        *("http://168.63.129.16/", "http://192.0.0.192/", "http://metadata.google.internal./computeMetadata/v1/"),
        *("http://xn--11b4c3d.test/", "http://127.0.0.2.nip.test/", "http://@127.0.0.2/", "http://127.0.0.2:０80/"),
        *("http://255.255.255.255/", "http://[ff02::1]/", "http://[::ffff:0.0.0.0]/"),
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused_without_a_connection(net: Net, address: str) -> None:
    net.names |= {"localhost": ["127.0.0.1", "::1"], "localhost.": ["127.0.0.1"], "xn--11b4c3d.test": ["10.0.0.1"]}
    net.names |= {"metadata.google.internal.": ["169.254.169.254"], "127.0.0.2.nip.test": ["127.0.0.2"]}
    with pytest.raises(Refused, match=r"^http\S+ refused: address is not public$"):
        fetch(net, address)
    assert net.dialled == []


@pytest.mark.parametrize(
    "found",
    [[PUBLIC, "127.0.0.2"], ["::ffff:10.0.0.1", PUBLIC], [PUBLIC, OTHER, "fe80::1%2"], ["2606:4700::1111", "::1"]],
)
def test_a_name_with_one_private_address_among_public_ones_is_refused(net: Net, found: list[str]) -> None:
    net.names["mixed.test"] = found
    with pytest.raises(Refused, match=r"http://mixed\.test/ refused: address is not public"):
        fetch(net, "http://mixed.test/")
    assert net.dialled == []


def test_a_name_is_looked_up_once_for_a_connection_so_rebinding_gains_nothing(net: Net) -> None:
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    looked_up: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return next(answers)

    net.resolve = rebinding  # type: ignore[method-assign]
    net.site.answers["/"] = answer("<p>hi")
    assert fetch(net, "http://site.test/").content == b"<p>hi"
    assert (looked_up, net.dialled) == (["site.test"], [(PUBLIC, 80)])


def test_a_name_that_turns_private_between_two_connections_is_refused(net: Net) -> None:
    answers = iter([[PUBLIC], ["127.0.0.1"]])

    async def rebinding(host: str, port: int) -> list[str]:
        return next(answers)

    net.resolve = rebinding  # type: ignore[method-assign]
    net.site.answers["/"] = redirect(Location="/next", Connection="close")
    with pytest.raises(Refused, match=r"http://site\.test/next refused: address is not public"):
        fetch(net, "http://site.test/")
    assert (net.dialled, net.site.asked) == ([(PUBLIC, 80)], ["/"])


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://127.0.0.2/", "http://127.0.0.2/ refused: address is not public"),
        ("//127.0.0.2/x", "http://127.0.0.2/x refused: address is not public"),
        ("http://inside.test/", "http://inside.test/ refused: address is not public"),
        ("http://site.test:22/", "http://site.test/ refused: it redirects to http://site.test:22/: port 22"),
        ("file:///etc/passwd", "http://site.test/ refused: it redirects to file:///etc/passwd: only addresses"),
        (
            "gopher://127.0.0.2:6379/_FLUSHALL",
            "http://site.test/ refused: it redirects to gopher://127.0.0.2:6379/_FLUSHALL",
        ),
        ("data:text/html,hi", "only addresses that begin with http"),
        ("//[::ffff:127.0.0.2]/", "address is not public"),
        ("http://0x7f.2/", "http://0x7f.2/ refused: address is not public"),
        ("http://[fe80::1%25eth0]/", "no proper host name"),
        ("http://a:b@site.test/", "user names"),
        ("http://[::1/", "http://site.test/ refused: it redirects to something that is not an address|not an address"),
        ("http://site.test/" + "a" * 3000, "longer than 2000"),
        ("javascript:alert(1)", "only addresses that begin with http"),
    ],
)
def test_a_redirect_to_what_may_not_be_visited_is_refused(net: Net, location: str, why: str) -> None:
    net.names["inside.test"] = ["192.168.0.1"]
    net.site.answers["/"] = redirect(Location=location)
    with pytest.raises(Refused, match=why):
        fetch(net, "http://site.test/")
    assert {address for address, _ in net.dialled} == {PUBLIC}


def test_redirects_are_followed_and_the_last_address_is_told(net: Net) -> None:
    net.names["other.test"] = [OTHER]
    net.site.answers["/"] = redirect(Location="a/b")
    net.site.answers["/a/b"] = redirect(Location="http://other.test:8080/c", status="308 Moved")
    net.site.answers["/c"] = answer("<p>hi")
    assert fetch(net, "http://site.test").url == "http://other.test:8080/c"
    assert net.dialled == [(PUBLIC, 80), (PUBLIC, 80), (OTHER, 8080)]


def test_a_redirect_loop_ends(net: Net) -> None:
    net.site.answers["/"] = redirect(Location="/")
    with pytest.raises(ToolError, match=r"http://site\.test/: more than 8 redirects"):
        fetch(net, "http://site.test/")
    assert len(net.site.asked) == 9


def test_a_redirect_with_backslashes_leads_nowhere_else(net: Net) -> None:
    net.site.answers["/"] = redirect(Location="http:\\\\127.0.0.2/")
    with pytest.raises(ToolError, match="HTTP 404"):
        fetch(net, "http://site.test/")
    assert {address for address, _ in net.dialled} == {PUBLIC}


def test_a_redirect_loop_over_two_hosts_ends(net: Net) -> None:
    net.names["other.test"] = [OTHER]
    net.site.answers["/"] = redirect(Location="http://other.test/back")
    net.site.answers["/back"] = redirect(Location="http://site.test/")
    with pytest.raises(ToolError, match="more than 8 redirects"):
        fetch(net, "http://site.test/")
    assert len(net.dialled) == 9


def test_the_body_of_a_redirect_is_not_waited_for(net: Net) -> None:
    net.site.answers["/"] = endlessly(b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n", b"x" * 65536)
    net.site.answers["/there"] = answer("<p>hi")
    assert fetch(net, "http://site.test/").content == b"<p>hi"


def test_the_next_address_of_a_name_is_tried(net: Net) -> None:
    net.names["site.test"] = [OTHER, PUBLIC]
    dial = net.dial

    async def one_is_down(address: str, port: int, seconds: float) -> httpcore.AsyncNetworkStream:
        stream = await dial(address, port, seconds)
        if address == OTHER:
            await stream.aclose()
            raise httpcore.ConnectError
        return stream

    net.dial = one_is_down  # type: ignore[method-assign]
    net.site.answers["/"] = answer("<p>hi")
    assert fetch(net, "http://site.test/").content == b"<p>hi"
    assert [address for address, _ in net.dialled] == [OTHER, PUBLIC]


def test_an_allowed_host_of_the_intranet_is_reached(net: Net) -> None:
    net.names["wiki.corp"] = ["10.0.0.5"]
    net.site.answers["/"] = answer("<p>hi")
    assert fetch(net, "http://wiki.corp:9000/", allow=("wiki.corp:9000",)).content == b"<p>hi"
    assert net.dialled == [("10.0.0.5", 9000)]


def test_a_proxy_of_the_environment_is_not_used(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    net.site.answers["/"] = answer("<p>hi")
    assert fetch(net, "http://site.test/").content == b"<p>hi"


@pytest.mark.parametrize(
    ("status", "why"), [("404 Not Found", "HTTP 404"), ("500 Oh", "HTTP 500"), ("302 Found", "HTTP 302")]
)
def test_an_error_of_the_server_is_told(net: Net, status: str, why: str) -> None:
    net.site.answers["/"] = answer("no", status=status)
    with pytest.raises(ToolError, match=f"^http://site.test/: {why}$"):
        fetch(net, "http://site.test/")


@pytest.mark.parametrize(
    "kind",
    [
        *("image/png", "image/svg", "video/mp4", "application/zip", "application/octet-stream", "", "nonsense"),
        *("multipart/x-mixed-replace; boundary=x", "application/x-shockwave-flash", "application/vnd.ms-excel"),
    ],
)
def test_what_cannot_be_read_is_not_downloaded(net: Net, kind: str) -> None:
    net.site.answers["/"] = answer(b"\x89PNG", kind)
    with pytest.raises(ToolError, match="type"):
        fetch(net, "http://site.test/")


@pytest.mark.parametrize(
    ("kind", "content", "found"),
    [
        ("application/pdf", b"%PDF-1.4", ContentKind.PDF),
        ("application/octet-stream", b"%PDF-1.4", ContentKind.PDF),
        ("", b"\n <!doctype html>", ContentKind.HTML),
        ("application/xhtml+xml", b"<html/>", ContentKind.HTML),
        ("application/rss+xml", b"<rss/>", ContentKind.XML),
        ("application/ld+json", b"{}", ContentKind.TEXT),
        ("application/json", b"{}", ContentKind.TEXT),
        ("text/plain", b"hi", ContentKind.TEXT),
    ],
)
def test_what_can_be_read_has_its_kind(net: Net, kind: str, content: bytes, found: ContentKind) -> None:
    net.site.answers["/"] = answer(content, kind)
    assert fetch(net, "http://site.test/").kind is found


PNG, BINARY = b"\x89PNG\r\n\x1a\n" + bytes(100), b"\x01\x02\x03 some" * 9


@pytest.mark.parametrize(
    ("kind", "content", "found"),
    [
        ("text/html, text/html", b"<p>", ContentKind.HTML),
        ("text/html\r\nContent-Type: text/html; charset=x", b"<p>", ContentKind.HTML),
        ("text/plain, text/html;charset=utf-8", b"<p>", ContentKind.HTML),
        ("nonsense, text/html", b"<p>", ContentKind.HTML),
        ("text/html;", b"<p>", ContentKind.HTML),
        ("text/html charset=utf-8", b"<p>", ContentKind.HTML),
        ("charset=utf-8", b"<!doctype html>", ContentKind.HTML),
        ("text/html", b"%PDF-1.4", ContentKind.PDF),
        ("text/plain", b"\r\n%PDF-1.4", ContentKind.PDF),
        ("application/pdf", b"junk\n%PDF-1.4", ContentKind.PDF),
        ("application/pdf", b"<!doctype html><p>log in", ContentKind.HTML),
        ("application/pdf", b"no such file", ContentKind.TEXT),
        ("application/octet-stream", b"a,b\n1,2", ContentKind.TEXT),
        ("application/octet-stream", b"\xef\xbb\xbf<html>", ContentKind.HTML),
        ("", b"plain", ContentKind.TEXT),
        ("*/*", b"plain", ContentKind.TEXT),
        ("nonsense", b"<?xml version='1.0'?><rss/>", ContentKind.XML),
        ("application/javascript", b"let x", ContentKind.TEXT),
        ("application/x-tex", b"\\section", ContentKind.TEXT),
        ("application/yaml", b"a: b", ContentKind.TEXT),
        ("text/csv", b"a,b", ContentKind.TEXT),
        ("text/markdown", b"# a\x01", ContentKind.TEXT),
        ("text/plain", b"\xff\xfea\0b\0", ContentKind.TEXT),
        ("text/plain; charset=utf-16", b"a\0b\0", ContentKind.TEXT),
        ("text/plain", b"<p>source", ContentKind.TEXT),
        ("image/svg+xml", b"<svg/>", ContentKind.XML),
        ("application/json", b"", ContentKind.TEXT),
    ],
)
def test_the_first_bytes_tell_where_the_type_does_not_or_is_wrong(
    net: Net, kind: str, content: bytes, found: ContentKind
) -> None:
    net.site.answers["/"] = answer(content, kind)
    assert fetch(net, "http://site.test/").kind is found


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        *(("text/html", PNG), ("text/plain", PNG), ("text/plain", BINARY), ("", BINARY), ("application/x", BINARY)),
        *(
            ("text/html", b"PK\x03\x04"),
            ("application/json", b"\xff\xd8\xff\xe0"),
            ("text/html", b"\0\0\0\x18ftypmp42"),
        ),
        *(("application/pdf", PNG), ("application/octet-stream", b"\xd0\xcf\x11\xe0"), ("text/csv", b"RIFF....WEBP")),
    ],
)
def test_what_is_no_text_is_not_shown_as_one(net: Net, kind: str, content: bytes) -> None:
    net.site.answers["/"] = answer(content, kind)
    with pytest.raises(ToolError, match=r"^http://site\.test/: of (no )?type .*cannot be read|can be read$"):
        fetch(net, "http://site.test/")


def test_what_turns_out_to_be_no_text_is_not_read_to_its_end(net: Net) -> None:
    net.site.answers["/"] = endlessly(b"HTTP/1.1 200 OK\r\nContent-Type: application/x\r\n\r\n", b"\0" * 65536)
    with pytest.raises(ToolError, match="of type application/x, which cannot be read"):
        fetch(net, "http://site.test/")


@pytest.mark.parametrize("status", [204, 205, 304])
def test_an_answer_without_a_page_is_told_in_words(net: Net, status: int) -> None:
    net.site.answers["/"] = f"HTTP/1.1 {status} x\r\n\r\n".encode()
    with pytest.raises(ToolError, match=f"^http://site.test/: HTTP {status}: the server answers without a page$"):
        fetch(net, "http://site.test/")


def deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("X-GZIP", gzip.compress), ("deflate", zlib.compress), ("deflate", deflate),
     ("identity", bytes), ("none", bytes), ("UTF-8", bytes), ("", bytes), ("", gzip.compress), ("none", gzip.compress),
     ("deflate", gzip.compress), ("gzip, gzip", gzip.compress), ("identity, gzip", gzip.compress),
     ("gzip\r\nContent-Encoding: gzip", gzip.compress), ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
     ("gzip", lambda data: b"".join(gzip.compress(data[at : at + 50]) for at in range(0, len(data), 50))),
     ("", lambda data: gzip.compress(data[:1]) + gzip.compress(b"") + gzip.compress(data[1:]) + bytes(20))],
)  # fmt: skip
def test_compressed_pages_are_decoded(net: Net, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    content = b"<p>hello</p>" * 1000
    net.site.answers["/"] = answer(pack(content), Content_Encoding=encoding)
    assert fetch(net, "http://site.test/").content == content


@pytest.mark.parametrize(
    ("encoding", "body", "why"),
    [
        ("gzip", gzip.compress(bytes(200 << 20), 1, mtime=0), "too large: more than 1 MiB"),
        ("deflate", zlib.compress(bytes(200 << 20), 1), "too large: more than 1 MiB"),
        ("gzip", gzip.compress(b"hello" * 100, mtime=0)[:-12], "the answer broke off"),
        ("gzip", b"this is not gzip at all", "cannot be decompressed"),
        ("deflate", b"\xff" * 50, "cannot be decompressed"),
        ("br", b"x", "encoding 'br', which was not asked for"),
        ("zstd", b"\x28\xb5\x2f\xfd", "encoding 'zstd', which was not asked for"),
        ("compress", b"x", "which was not asked for"),
        ("gzip, br", gzip.compress(b"x", mtime=0), "which was not asked for"),
        ("gzip", gzip.compress(b"<p>hi", mtime=0) + b"\0" * (2 << 20), "too large"),
        ("gzip", gzip.compress(bytes(1 << 19), 1) * 3, "too large: more than 1 MiB"),
        ("", gzip.compress(bytes(200 << 20), 1, mtime=0), "too large: more than 1 MiB"),
        ("gzip, gzip", gzip.compress(gzip.compress(bytes(200 << 20), 1)), "too large: more than 1 MiB"),
        ("gzip", gzip.compress(b"x") + gzip.compress(b"y" * 99)[:-9], "the answer broke off"),
    ],
)
def test_a_bomb_or_a_broken_stream_is_told(net: Net, encoding: str, body: bytes, why: str) -> None:
    net.site.answers["/"] = answer(body, Content_Encoding=encoding)
    with pytest.raises(ToolError, match=why):
        fetch(net, "http://site.test/")


def test_a_bomb_inside_a_bomb_is_unpacked_once_and_is_no_page(net: Net) -> None:
    inner = gzip.compress(bytes(50 << 20), 1)
    net.site.answers["/"] = answer(gzip.compress(inner, mtime=0), Content_Encoding="gzip")
    with pytest.raises(ToolError, match="of type text/html, which cannot be read"):
        fetch(net, "http://site.test/")


def test_bytes_after_the_end_of_a_gzip_stream_are_ignored(net: Net) -> None:
    net.site.answers["/"] = answer(gzip.compress(b"<p>hi", mtime=0) + b"junk", Content_Encoding="gzip")
    assert fetch(net, "http://site.test/").content == b"<p>hi"


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"


def endlessly(start: bytes, chunk: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(chunk)

    return serve


def drip(start: bytes, chunk: bytes) -> Callable[[socket.socket], None]:
    """One chunk every 20 ms, until the other side goes away."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(start)
        connection.settimeout(0.02)
        while True:
            connection.sendall(chunk)
            with suppress(TimeoutError):
                if not connection.recv(1):
                    return

    return serve


def reset(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"Content-Length: 100\r\n\r\nhalf")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_an_endless_body_is_cut(net: Net) -> None:
    net.site.answers["/"] = endlessly(HEAD + b"\r\n", b"x" * 65536)
    with pytest.raises(ToolError, match="too large: more than 1 MiB"):
        fetch(net, "http://site.test/")


def test_a_body_that_is_said_to_be_too_large_is_not_waited_for(net: Net) -> None:
    net.site.answers["/"] = HEAD + b"Content-Length: 9000000\r\n\r\n"
    with pytest.raises(ToolError, match=r"too large: 8\.58 MiB"):
        fetch(net, "http://site.test/")


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("start", "chunk"),
    [
        (HEAD, b"X-More: " + b"x" * 1000 + b"\r\n"),
        (HEAD + b"X-Long: ", b"x" * 1000),
        (b"HTTP/1.1 200 ", b"x" * 1000),
        (CHUNKED + b"1;", b"x" * 1000),
        (CHUNKED + b"0\r\n", b"X-Trailer: " + b"x" * 1000 + b"\r\n"),
    ],
)
def test_endless_headers_are_cut(net: Net, start: bytes, chunk: bytes) -> None:
    net.site.answers["/"] = endlessly(start, chunk)
    with pytest.raises(ToolError, match="broke off or is not HTTP"):
        fetch(net, "http://site.test/")


@pytest.mark.parametrize(
    ("start", "chunk"),
    [
        (HEAD + b"Content-Length: 100000\r\n\r\n", b"x"),
        (HEAD, b"X"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"", b""),
    ],
)
def test_a_slow_drip_is_cut_by_the_time_for_the_whole(net: Net, start: bytes, chunk: bytes) -> None:
    net.site.answers["/"] = drip(start, chunk)
    with pytest.raises(ToolTimeout, match=r"no complete answer within 0\.5 s"):
        fetch(net, "http://site.test/", seconds=0.5)


def test_a_resolver_that_hangs_is_cut_by_the_same_time(net: Net) -> None:
    async def hanging(host: str, port: int) -> list[str]:
        await anyio.sleep_forever()
        return []

    net.resolve = hanging  # type: ignore[method-assign]
    with pytest.raises(ToolTimeout, match=r"http://site.test/: no complete answer within 0\.2 s"):
        fetch(net, "http://site.test/", seconds=0.2)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (HEAD + b"Content-Length: 100\r\n\r\nhalf", "broke off"),
        (HEAD + b"Content-Length: x\r\n\r\nhalf", "not HTTP"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "not HTTP"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", "broke off"),
        (b"SSH-2.0-OpenSSH\r\n", "not HTTP"),
        (b"", "broke off|connection broke"),
        (reset, "connection broke|broke off"),
    ],
)
def test_an_answer_that_breaks_off_or_is_none_is_told(
    net: Net, given: bytes | Callable[[socket.socket], None], why: str
) -> None:
    net.site.answers["/"] = given
    with pytest.raises(ToolError, match=f"^http://site.test/: .*{why}"):
        fetch(net, "http://site.test/")


def test_nobody_there_is_told(net: Net) -> None:
    net.site.close()
    with pytest.raises(ToolError, match=r"^http://site\.test/: no connection to the server$"):
        fetch(net, "http://site.test/")
    with pytest.raises(ToolError, match=r"^http://nowhere\.test/: no such host$"):
        fetch(net, "http://nowhere.test/")


@pytest.mark.parametrize("host", ["site.test", "other.test"])
def test_a_certificate_is_checked_against_the_name_and_not_the_address(net: Net, host: str) -> None:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("site.test").configure_cert(server)
    asked_for: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: asked_for.append(name)
    context = trust()
    authority.configure_trust(context)
    net.names[host] = [PUBLIC]
    tls = Terminator(net.site, server)
    net.site, plain = tls, net.site  # type: ignore[assignment]
    plain.answers["/"] = answer("<p>hi")
    try:
        if host == "site.test":
            assert fetch(net, f"https://{host}/", context=context).content == b"<p>hi"
        else:
            with pytest.raises(ToolError, match=r"its certificate is not valid: Hostname mismatch"):
                fetch(net, f"https://{host}/", context=context)
    finally:
        tls.close()
    assert (asked_for, net.dialled) == ([host], [(PUBLIC, 443)])


def test_a_server_that_stops_speaking_tls_is_told(net: Net) -> None:
    authority, server, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), trust()
    authority.issue_cert("site.test").configure_cert(server)
    authority.configure_trust(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        net.site.port = listener.getsockname()[1]

        def serve() -> None:
            with listener.accept()[0] as raw, suppress(OSError):
                secure = server.wrap_socket(raw, server_side=True)
                secure.recv(1 << 16)
                os.write(secure.fileno(), b"this is no TLS at all" * 9)
                secure.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ToolError, match=r"^https://site\.test/: the connection broke$"):
            fetch(net, "https://site.test/", context=context)
        thread.join()


def test_a_certificate_of_nobody_known_is_refused(net: Net) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("site.test").configure_cert(server)
    tls = Terminator(net.site, server)
    net.site = tls  # type: ignore[assignment]
    with pytest.raises(ToolError, match="its certificate is not valid"):
        fetch(net, "https://site.test/")
    tls.close()


class Terminator:
    """Speaks TLS in front of a site, for one connection."""

    def __init__(self, site: Site, context: ssl.SSLContext) -> None:
        self._site, self._context = site, context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._thread.join()

    def _serve(self) -> None:
        with self._listener, self._listener.accept()[0] as raw, suppress(OSError):
            self._site._serve(self._context.wrap_socket(raw, server_side=True))


def test_nothing_is_left_open_after_calls_of_all_ends(net: Net) -> None:
    net.site.answers["/"] = answer("<p>hi")
    net.site.answers["/slow"] = drip(HEAD + b"Content-Length: 100000\r\n\r\n", b"x")
    streams: list[httpcore.AsyncNetworkStream] = []
    dial = net.dial

    async def remembered(address: str, port: int, seconds: float) -> httpcore.AsyncNetworkStream:
        streams.append(await dial(address, port, seconds))
        return streams[-1]

    net.dial = remembered  # type: ignore[method-assign]
    for path in ("/", "/missing"):
        with suppress(ToolError):
            fetch(net, f"http://site.test{path}")

    async def cancelled() -> None:
        guard = Guard(resolve=net.resolve)
        fetcher = Fetcher(guard, GuardedBackend(guard, net.dial), trust(), 1000, LIMIT)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fetcher.fetch, "http://site.test/slow")
            while "/slow" not in net.site.asked:
                await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()

    anyio.run(cancelled)
    assert [stream.get_extra_info("socket").fileno() for stream in streams] == [-1, -1, -1]
