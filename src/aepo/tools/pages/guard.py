"""Decides which addresses may be visited, by the text of a URL and by the IP addresses of its host name.

A URL is parsed only once, here. Its parts are sent unchanged and never decoded again, so a name that breaks the rules
of host names is looked up like any other. A host name is looked up once for each connection, and the connection goes to
an address that was checked. A name that changes its address a moment later gains nothing. Odd spellings of an address
(0x7f.1, 2130706434) need no rule: the resolver reads them, and its answer is checked.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from aepo.tools.pages.addresses import Address, is_public, plain
from aepo.types import ToolError

if TYPE_CHECKING:
    import httpx

WEB_PORTS = frozenset({80, 443, 8080, 8443})
LONGEST_URL = 2000
_PORTS = {"http": 80, "https": 443}
# Matches host names in the form that is sent, and IPv6 addresses without their brackets.
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*|(?=.*:)[0-9a-f:.]{2,45}")

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""A function that finds all IP addresses of a host name and a port; it raises OSError if there are none."""


class Refused(ToolError):
    """An address may not be visited; the message says why."""


@dataclass(frozen=True)
class Url:
    """The parts of an address that may be visited.

    Attributes:
        text: The whole address.
        scheme: "http" or "https".
        host: The host in the form that is sent: lower case, IPv6 without brackets.
        port: The port; the scheme's own if the address names none.
        target: Path and query in the form that is sent.
    """

    text: str
    scheme: str
    host: str
    port: int
    target: bytes

    def __str__(self) -> str:
        """Return the whole address."""
        return self.text

    @property
    def place(self) -> tuple[str, int]:
        """The host in the form that is compared, and the port."""
        return normal(self.host), self.port

    @property
    def authority(self) -> str:
        """Host and port in the form of a request's Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True)
class Allowed:
    """Hosts and networks that a user allows.

    Attributes:
        hosts: Host names with a port, or with None for the ports of the web. Their IP addresses are not checked.
        networks: Networks whose addresses count as public.
    """

    hosts: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Allowed:
        """Read entries such as "wiki.corp", "wiki.corp:9000", "10.1.2.3", "[fd00::1]:9000" and "10.0.0.0/8".

        Raises:
            ValueError: An entry is none of these.
        """
        hosts: set[tuple[str, int | None]] = set()
        networks: list[IPv4Network | IPv6Network] = []
        for entry in entries:
            try:
                networks.append(ip_network(entry))
            except ValueError:
                hosts.add(_host_and_port(entry))
        return cls(frozenset(hosts), tuple(networks))


class Guard:
    """Decides which addresses may be visited."""

    def __init__(self, allow: Iterable[str] = (), resolve: Resolve | None = None) -> None:
        """Set the hosts allowed besides the public web, and the resolver, by default the system's.

        Raises:
            ValueError: An entry of `allow` cannot be read.
        """
        self._allowed = Allowed.parse(allow)
        self._resolve = resolve or system_resolve

    def url(self, text: str, base: Url | None = None) -> Url:
        """Check the text of an address, which may be relative to `base`; nothing is looked up here.

        Raises:
            Refused: It is not an address of the web, is too long, holds a user name, or has a port that is not allowed.
        """
        text = text.strip()
        if len(text) > LONGEST_URL:
            raise Refused(f"longer than {LONGEST_URL} characters")
        try:
            url = _parse(text, base)
        except ValueError:
            raise Refused("not an address") from None
        if url.scheme not in _PORTS:
            raise Refused("only addresses that begin with http:// or https:// can be opened")
        if url.userinfo:
            raise Refused("user names in addresses are not allowed")
        host = url.raw_host.decode("ascii").lower()
        if not _HOST.fullmatch(normal(host)):
            raise Refused("it has no proper host name")
        port = _PORTS[url.scheme] if url.port is None else url.port
        self.port(host, port)
        return Url(str(url), url.scheme, host, port, url.raw_path)

    def port(self, host: str, port: int) -> None:
        """Check a port.

        Raises:
            Refused: The port is neither one of the web's nor allowed for this host.
        """
        if port not in WEB_PORTS and (normal(host), port) not in self._allowed.hosts:
            raise Refused(f"port {port} is not one of the web")

    async def addresses(self, host: str, port: int) -> list[str]:
        """Look a host name up, and check the port and every IP address; a connection may go to any of the results.

        Raises:
            Refused: The port is not allowed, or an address is not public and neither it nor the host is allowed.
            ToolError: There is no such host.
        """
        self.port(host, port)
        try:
            found = [ip_address(address) for address in await self._resolve(host, port)]
        except (OSError, UnicodeError):
            found = []
        except ValueError:
            raise Refused("address is not public") from None
        if not found:
            raise ToolError("no such host")
        named = {(normal(host), port), (normal(host), None)} & self._allowed.hosts
        if not named and not all(is_public(address) or self._opened(address) for address in found):
            raise Refused("address is not public")
        return [str(address) for address in found]

    def _opened(self, address: Address) -> bool:
        return any(plain(address) in network for network in self._allowed.networks)


async def system_resolve(host: str, port: int) -> list[str]:
    """Ask the system's resolver in a thread. The caller may give up before the thread ends."""
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    # Each lookup has a limiter of its own, so that lookups that hang do not block others.
    found = await anyio.to_thread.run_sync(ask, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def normal(host: str) -> str:
    """Return a host name in the form that is compared: lower case, without the dot at the end."""
    return host.lower().removesuffix(".")


def shorten(text: str, limit: int = 200) -> str:
    """Cut a text for the model to `limit` characters on one line."""
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[:limit]}..."


def _parse(text: str, base: Url | None = None) -> httpx.URL:
    """Parse an address; its host name is not interpreted.

    Raises:
        ValueError: It is not an address.
    """
    import httpx

    try:
        return httpx.URL(text) if base is None else httpx.URL(base.text).join(text)
    except httpx.InvalidURL as error:
        raise ValueError(str(error)) from None


def _host_and_port(entry: str) -> tuple[str, int | None]:
    wrong = f"allow: {entry!r} is neither a host, a host:port, an address nor a network such as 10.0.0.0/8"
    try:
        url = _parse(f"https://{entry}")
        host = normal(url.raw_host.decode("ascii"))
    except ValueError:
        raise ValueError(wrong) from None
    if url.raw_path != b"/" or url.userinfo or url.fragment or not _HOST.fullmatch(host):
        raise ValueError(wrong)
    return host, 443 if url.port is None and entry.endswith(":443") else url.port
