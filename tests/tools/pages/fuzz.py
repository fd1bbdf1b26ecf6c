"""Addresses as nobody should write them, and a way to fetch them without a network."""

import ssl
import string
from typing import Any

import anyio
import httpcore
from hypothesis import strategies as st

from aepo.tools.pages.connect import GuardedBackend, trust
from aepo.tools.pages.fetch import Fetcher
from aepo.tools.pages.guard import Guard
from aepo.types import ToolError

_puny = string.ascii_letters + string.digits + "-"
_label = st.one_of(
    st.text(_puny, max_size=12),
    st.text(_puny, max_size=12).map("xn--".__add__),
    st.text(min_size=1, max_size=6).map(lambda text: "xn--" + text.encode("punycode", "replace").decode("latin-1")),
    st.text(max_size=6),
    st.sampled_from(
        ["☃", "xn--ls8h", "xn--", "xn---", "faß", "İ", "ﬀ", "\u200d", "א1", "a\u0301", "%65", "_x", "0x7f", "1"]
    ),
    st.integers(1, 80).map("a".__mul__),
)
_plain = st.text(string.ascii_lowercase + string.digits + "-_", min_size=1, max_size=12)
_host = st.one_of(
    # Three times, so that many addresses get as far as a connection.
    *[st.lists(_plain | _plain.map("xn--".__add__), min_size=1, max_size=4).map(".".join)] * 3,
    st.lists(_label, max_size=5).flatmap(
        lambda labels: st.sampled_from([".", "。", "．", ".."]).map(lambda dot: dot.join(labels))
    ),
    st.text("0123456789abcdefx:.%[]", max_size=40).map(lambda text: f"[{text}]"),
    st.text("0123456789.x", max_size=20),
    st.sampled_from(["site.test", "site.test.", ".", ""]),
)
_port = st.sampled_from(["", "", "", "", "", "", ":80", ":443", ":", ":8080", ":0", ":99999", ":８０", ":x"])
_rest = st.text(max_size=20) | st.text(string.printable, max_size=20)
_odd = ["HTTP://", "http:", "https:/", "http:\\\\", "//", "", "ftp://", "http:////"]
_scheme = st.sampled_from(["http://", "https://"]) | st.sampled_from(["http://", "https://", *_odd])
_user = st.sampled_from(["", "", "", "", "", "", "", "", "@", "u@", "u:p@", "\\@"])
addresses = st.text(max_size=40) | st.builds(
    lambda *parts: "".join(parts), _scheme, _user, _host, _port, st.sampled_from(["", "/", "?", "#", "\\"]), _rest
)
"""Addresses, and what may be joined to one."""

locations = addresses.map(lambda text: text.encode("utf-8", "surrogatepass")) | st.binary(max_size=40)
"""What a Location header may hold."""


bodies = st.tuples(
    st.lists(
        st.sampled_from(
            [
                *(
                    "<a href='x",
                    "'>",
                    "</a>",
                    "<table>",
                    "<tr>",
                    "<td rowspan=3 colspan=2>",
                    "<base href=",
                    "<p hidden",
                    "<!--",
                ),
                *(
                    "-->",
                    "<template>",
                    "<meta charset=",
                    "<style>",
                    "</style>",
                    "<script>",
                    "&#0;",
                    "&#xd800;",
                    "\0",
                    "<svg>",
                ),
                *(
                    "<title>",
                    "<frameset>",
                    "<?xml encoding='",
                    "<meta http-equiv=refresh content='0;url=",
                    "\x1b$B",
                    "<![CDATA[",
                ),
            ]
        )
        | st.text(max_size=10),
        max_size=30,
    ).map(lambda parts: "".join(parts).encode("utf-8", "replace"))
    | st.binary(max_size=200),
    st.sampled_from(["", "utf-8", "gbk", "utf-16", "iso-2022-jp", "x-user-defined", "hz-gb-2312", "no such"]),
)
"""Bodies of pages, with a charset."""


class Played(httpcore.AsyncNetworkStream):
    """A connection on which an answer is read whatever is sent; TLS looks at the name of the server only."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        await anyio.lowlevel.checkpoint()
        chunk, self._answer = self._answer[:max_bytes], self._answer[max_bytes:]
        return chunk

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        pass

    async def aclose(self) -> None:
        pass

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        ssl_context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=server_hostname)
        return self

    def get_extra_info(self, info: str) -> Any:
        return None


_TRUST = trust()


async def outcome(address: str, *answers: bytes) -> str:
    """Fetch; each connection brings the next answer. What came: "read", or the words of a refusal.

    Raises:
        Exception: Anything that is no `ToolError`.
    """
    coming = iter(answers)

    async def resolve(host: str, port: int) -> list[str]:
        return ["93.184.216.34"]

    async def dial(address: str, port: int, seconds: float) -> httpcore.AsyncNetworkStream:
        return Played(next(coming, b""))

    guard = Guard(resolve=resolve)
    try:
        await Fetcher(guard, GuardedBackend(guard, dial), _TRUST).fetch(address)
    except ToolError as error:
        return str(error)
    return "read"


PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>hi"


def redirect_to(location: bytes) -> bytes:
    """An answer that leads on."""
    return b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n"
