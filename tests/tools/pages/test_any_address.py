"""Whatever an address, a redirect or an answer holds, the outcome is a document or words."""

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tools.pages.fuzz import PAGE, addresses, locations, outcome, redirect_to

CHOKES = [
    *("xn--ls8h.test", "xn--n3h.test", "xn--a.test", "xn---.test", "xn--a-ecp.ru", "xn--", "xn--.test", "a.xn--0.b"),
    *(
        "XN--LS8H.TEST",
        "xn--ls8h.test.",
        "xn--ls8h.test:8080",
        "xn--zca.xn--0ca",
        "_dmarc.test",
        "a_b.test",
        "-a-.test",
    ),
]
TOLD = [
    *("a..test", ".test", "a" * 64 + ".test", "☃.test", "i❤.test", "\u200d.test", "a\u0301\u0301.xn--.☃", "xn--ü.test"),
    *("[::1", "[::g]", "1.2.3.4.5:80:80", "%00.test", "a b.test", "test..", "\udcff.test", "."),
]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", CHOKES)
def test_a_name_that_breaks_rules_of_host_names_is_visited_as_it_stands(scheme: str, host: str) -> None:
    assert anyio.run(outcome, f"{scheme}://{host}/", PAGE) == "read"
    assert anyio.run(outcome, "http://site.test/", redirect_to(f"{scheme}://{host}/x".encode()), PAGE) == "read"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", TOLD)
def test_what_cannot_go_over_the_wire_is_refused_in_words(scheme: str, host: str) -> None:
    assert " refused: " in anyio.run(outcome, f"{scheme}://{host}/", PAGE)
    location = f"{scheme}://{host}/".encode("utf-8", "surrogatepass")
    assert " refused: it redirects to " in anyio.run(outcome, "http://site.test/", redirect_to(location), PAGE)


@settings(max_examples=1000, deadline=None)
@given(addresses)
def test_any_address_is_fetched_or_told(address: str) -> None:
    assert anyio.run(outcome, address, PAGE)


@settings(max_examples=1000, deadline=None)
@given(locations)
def test_any_redirect_is_followed_or_told(location: bytes) -> None:
    assert anyio.run(outcome, "https://site.test/a/b?c", redirect_to(location), PAGE)


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                *(
                    b"HTTP/1.1 200 OK\r\n",
                    b"HTTP/1.1 301\r\n",
                    b"HTTP/1.1 101 S\r\n",
                    b"HTTP/1.1 103 E\r\n",
                    b"ICY 200 OK\r\n",
                ),
                *(
                    b"Content-Type: text/html\r\n",
                    b"Content-Encoding: gzip\r\n",
                    b"Content-Length: 3\r\n",
                    b"\r\n",
                    b"\n",
                ),
                *(
                    b"Transfer-Encoding: chunked\r\n",
                    b"Location: /\r\n",
                    b"X y: z\r\n",
                    b": n\r\n",
                    b" folded\r\n",
                    b"3\r\nabc\r\n",
                ),
                *(
                    b"\x1f\x8b\x08",
                    b"%PDF-1.4",
                    b"<p>hi",
                    b"0\r\n\r\n",
                    b"\0",
                    b"Location:\r\n",
                    b"Content-Length: \xb2\r\n",
                ),
            ]
        )
        | st.binary(max_size=20),
        max_size=12,
    ).map(b"".join)
)
def test_any_answer_is_read_or_told(answer: bytes) -> None:
    assert anyio.run(outcome, "http://site.test/", answer, PAGE)
