"""Texts of addresses, ports, and the list of what a user opens on purpose."""

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aepo.tools.pages.guard import Allowed, Guard, Refused, system_resolve
from aepo.types import ToolError


def guard(*allow: str, stands_for: str = "10.0.0.5") -> Guard:
    async def resolve(host: str, port: int) -> list[str]:
        return [stands_for]

    return Guard(allow, resolve)


def addresses(judge: Guard, host: str, port: int = 443) -> list[str]:
    return anyio.run(judge.addresses, host, port)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("ftp://site.test/", "only addresses that begin with http"),
        ("gopher://site.test/", "only addresses that begin with http"),
        ("javascript:alert(1)", "only addresses that begin with http"),
        ("file:///etc/passwd", "only addresses that begin with http"),
        ("data:text/html,hi", "only addresses that begin with http"),
        ("jar:http://site.test!/", "only addresses that begin with http"),
        ("view-source:http://site.test/", "only addresses that begin with http"),
        ("blob:http://site.test/x", "only addresses that begin with http"),
        ("ws://site.test/", "only addresses that begin with http"),
        ("dict://127.0.0.1:11211/", "only addresses that begin with http"),
        ("site.test/page", "only addresses that begin with http"),
        ("//site.test/page", "only addresses that begin with http"),
        ("", "only addresses that begin with http"),
        ("http://user:pw@site.test/", "user names"),
        ("http://user@site.test/", "user names"),
        ("http://site.test@127.0.0.2/", "user names"),
        ("http://site.test\\@127.0.0.2/", "user names"),
        ("http://127.0.0.2\\@site.test/", "user names"),
        ("http://site.test:80@127.0.0.2/", "user names"),
        ("http://site.test%2f@127.0.0.2/", "user names"),
        ("http://:@127.0.0.2/", "user names"),
        ("http://site.test:22/", "port 22"),
        ("https://site.test:25/", "port 25"),
        ("http://site.test:99999/", "port 99999"),
        ("http://site.test:0/", "port 0"),
        ("http://site.test:x/", "not an address"),
        ("http:///path", "no proper host name"),
        ("http:site.test", "no proper host name"),
        ("http://a b/", "no proper host name"),
        ("http://site%2etest/", "no proper host name"),
        ("http://[fe80::1%25eth0]/", "no proper host name"),
        ("http://[::1%25lo]/", "no proper host name"),
        ("http://[2606:4700::1111%1]/", "no proper host name"),
        ("http://[::ffff:127.0.0.2%25x]/", "no proper host name"),
        ("http://127.0.0.2%2e/", "no proper host name"),
        ("http://site.test%00.evil.test/", "no proper host name"),
        ("http:/\\127.0.0.2/", "no proper host name"),
        ("http:////127.0.0.2/", "no proper host name"),
        ("http://:80/", "no proper host name"),
        ("http://[v1.x]/", "not an address"),
        ("http://①②⑦.⓪.⓪.②/", "not an address"),
        ("http://１２７.0.0.2/", "not an address"),
        ("http://0300.0250.0.1/", "not an address"),
        ("http://127.0.0.02/", "not an address"),
        ("http://site.test\u202e/", "not an address"),
        ("ht\ntp://site.test/", "not an address"),
        ("http://[::1/", "not an address|no proper host name"),
        ("http://1.2.3.4.5.6.7.8:80:80/", "not an address"),
        ("http://999.1.1.1/", "not an address"),
        ("http://0177.0.0.2/", "not an address"),
        ("http://site.test/\r\nHost: other", "not an address"),
        ("http://site.test/\x00", "not an address"),
        (f"http://{'a' * 1900}.test/", "no proper host name"),
        (f"http://{'ä' * 1900}.test/", "not an address"),
        (f"http://{'a' * 5000}.test/", "longer than 2000"),
        (f"http://site.test/{'a' * 2000}", "longer than 2000"),
        ("http://\ud800.test/", "not an address"),
    ],
)
def test_what_is_not_an_ordinary_address_of_the_web_is_refused(address: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        guard().url(address)


@pytest.mark.parametrize(
    "address",
    [
        *("http://site.test", " https://site.test/a?b=c#d\n", "http://site.test:8080/", "https://site.test:8443/x"),
        *("http://xn--mnchen-3ya.test/", "http://site.test.:80/", "http://site.test#@127.0.0.2/"),
        *("http://1.1.1.1/", "http://[2606:4700::1111]:443/", "http://münchen.test/straße", "HTTP://SITE.TEST./"),
    ],
)
def test_ordinary_addresses_pass(address: str) -> None:
    assert guard().url(address).host


@settings(deadline=None)
@given(st.text(max_size=300) | st.text(max_size=100).map(lambda text: f"http://{text}"))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        url = guard().url(text)
    except Refused:
        return
    assert url.scheme in ("http", "https") and url.host and "@" not in url.authority


def test_the_port_is_judged_where_a_connection_is_made_too() -> None:
    with pytest.raises(Refused, match="port 22"):
        addresses(guard(stands_for="1.1.1.1"), "site.test", 22)


def test_a_private_address_is_refused_without_saying_which() -> None:
    with pytest.raises(Refused) as caught:
        addresses(guard(), "wiki.corp")
    assert str(caught.value) == "address is not public"


@pytest.mark.parametrize("entry", ["wiki.corp", "WIKI.corp", "10.0.0.0/8", "10.0.0.5", "wiki.corp:443"])
def test_an_allowed_host_or_network_is_open(entry: str) -> None:
    assert addresses(guard(entry), "wiki.corp") == ["10.0.0.5"]


@pytest.mark.parametrize("entry", ["wiki.corp.evil.test", "corp", "10.0.1.0/24", "fd00::/8", "wiki.corp:9000"])
def test_what_is_not_on_the_list_stays_closed(entry: str) -> None:
    with pytest.raises(Refused):
        addresses(guard(entry), "wiki.corp")


def test_a_port_is_opened_for_its_host_alone() -> None:
    judge = guard("wiki.corp:9000")
    assert judge.url("http://wiki.corp:9000/").port == 9000
    assert addresses(judge, "wiki.corp.", 9000) == ["10.0.0.5"]
    for address in ("http://other.corp:9000/", "http://wiki.corp:9001/"):
        with pytest.raises(Refused, match="port"):
            judge.url(address)


def test_an_allowed_network_holds_for_mapped_addresses_too() -> None:
    assert addresses(guard("10.0.0.0/8", stands_for="::ffff:10.0.0.5"), "wiki.corp") == ["::ffff:a00:5"]


def test_all_spellings_of_the_list_are_read() -> None:
    allowed = Allowed.parse(["wiki.corp", "wiki.corp:9000", "[fd00::1]:9000", "fd00::/8", "10.1.2.3"])
    assert allowed.hosts == {("wiki.corp", None), ("wiki.corp", 9000), ("fd00::1", 9000)}
    assert [str(network) for network in allowed.networks] == ["fd00::/8", "10.1.2.3/32"]


@pytest.mark.parametrize("entry", ["", "http://wiki.corp", "wiki.corp/path", "10.0.0.1/8", "a@wiki.corp", "*", "a:b"])
def test_an_entry_that_cannot_be_read_is_an_error_at_once(entry: str) -> None:
    with pytest.raises(ValueError, match="is neither a host"):
        Guard([entry])


@pytest.mark.parametrize("host", ["a" * 300, "a..b", "no-such-host.invalid"])
def test_a_host_that_is_not_there_is_told(host: str) -> None:
    with pytest.raises(ToolError, match="no such host"):
        addresses(Guard(resolve=nowhere if host.endswith("invalid") else None), host)


async def nowhere(host: str, port: int) -> list[str]:
    raise OSError("name or service not known")


def test_the_system_reads_odd_spellings_of_loopback() -> None:
    for host in ("127.2", "127.0.2", "0x7f.0.0.2", "0x7f000002", "2130706434", "017700000002", "0177.0.0.2"):
        assert anyio.run(system_resolve, host, 80) == ["127.0.0.2"]
        with pytest.raises(Refused, match="not public"):
            addresses(Guard(), host, 80)
