"""Heads that HTTP does not allow, from a real server: what browsers read is read."""

import pytest

from aepo.tools.pages.heads import mended
from aepo.types import ToolError
from tests.tools.pages.conftest import Net
from tests.tools.pages.test_fetch import fetch

OK, TYPE, LENGTH = b"HTTP/1.1 200 OK\r\n", b"Content-Type: text/html\r\n", b"Content-Length: 5\r\n"
READ = {
    "a name with a blank": OK + TYPE + b"X Powered By: x\r\n" + LENGTH,
    "a blank before the colon": OK + TYPE + b"X-Cache : HIT\r\n" + LENGTH,
    "a blank before the colon of a line that counts": OK + b"Content-Type : text/html\r\nContent-Length\t: 5\r\n",
    "no name": OK + TYPE + b": nothing\r\n" + LENGTH,
    "no colon": OK + TYPE + b"nothing\r\n" + LENGTH,
    "no value": OK + TYPE + b"X:\r\n" + LENGTH,
    "an empty reason": b"HTTP/1.1 200\r\n" + TYPE + LENGTH,
    "odd bytes in the reason": b"HTTP/1.1 200 \xff\0\r\n" + TYPE + LENGTH,
    "two blanks in the first line": b"HTTP/1.1  200  OK\r\n" + TYPE + LENGTH,
    "a small first line": b"http/1.1 200 ok\r\n" + TYPE + LENGTH,
    "an old version": b"HTTP/1.0 200 OK\r\n" + TYPE,
    "a version of its own": b"HTTP/2 200\r\n" + TYPE + LENGTH,
    "bare line feeds": (OK + TYPE + LENGTH).replace(b"\r\n", b"\n"),
    "an empty line before it": b"\r\n" + OK + TYPE + LENGTH,
    "odd bytes in names": OK + TYPE + b"X-\xe9: y\r\nX(y): z\r\n\x00: q\r\n" + LENGTH,
    "odd bytes in values": OK + TYPE + b"X: a\x00b\x0bc\rd\r\n" + LENGTH,
    "a folded line": OK + b"Content-Type:\r\n text/html\r\n" + LENGTH,
    "a folded line of one that is none": OK + TYPE + b"none at all\r\n  more: of it\r\n" + LENGTH,
    "a first line that is folded": OK + b" X: y\r\n" + TYPE + LENGTH,
    "the same length twice": OK + TYPE + LENGTH + LENGTH,
    "a coding in transfer that is none": OK + TYPE + b"Transfer-Encoding: identity\r\n" + LENGTH,
    "early hints": b"HTTP/1.1 103 Early Hints\r\nLink : </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK + TYPE + LENGTH,
}


@pytest.mark.parametrize("name", READ)
def test_what_browsers_read_is_read(net: Net, name: str) -> None:
    net.site.answers["/"] = READ[name] + b"\r\n<p>hi"
    assert fetch(net, "http://site.test/").content == b"<p>hi"


@pytest.mark.parametrize(
    "lines", [b"chunked", b"chunked\r\nTransfer-Encoding: chunked", b"identity, Chunked", b"gzip, chunked"]
)
def test_chunks_are_read_however_often_they_are_said(net: Net, lines: bytes) -> None:
    net.site.answers["/"] = OK + TYPE + b"Transfer-Encoding : " + lines + b"\r\n\r\n5\r\n<p>hi\r\n0\r\n\r\n"
    assert fetch(net, "http://site.test/").content == b"<p>hi"


@pytest.mark.parametrize(
    "head",
    [
        b"ICY 200 OK\r\n",
        b"HTTP/1.1 20 OK\r\n",
        b"HTTP/1.1 2000 OK\r\n",
        OK + LENGTH + b"Content-Length: 6\r\n",
        b"\0\r\n",
    ],
)
def test_what_is_no_http_is_told(net: Net, head: bytes) -> None:
    net.site.answers["/"] = head + b"\r\n<p>hi"
    with pytest.raises(ToolError, match=r"^http://site\.test/: the answer broke off or is not HTTP$"):
        fetch(net, "http://site.test/")


def test_a_head_is_mended_line_by_line() -> None:
    assert mended(b"HTTP/1.1 302 Found\r\nLocation :  /a b \r\nno\r\n\r\n") == b"HTTP/1.1 302\r\nLocation: /a b\r\n\r\n"
