"""What a browser may reach: the sites that are named, and the web only behind a guard."""

from __future__ import annotations

from collections.abc import Mapping

import httpcore

from aepo.tools.pages.connect import CONNECT_SECONDS, GuardedBackend, dial
from aepo.tools.pages.guard import Guard, Refused


class Sites(GuardedBackend):
    """Connects to the servers of named sites, and to nothing else unless there is a guard of the web.

    A site keeps its name when its server gets another port, so that all runs see the same addresses.
    """

    def __init__(self, sites: Mapping[str, str], web: Guard | None) -> None:
        """Set the servers of the sites ("shop.test": "127.0.0.1:8000"), and the guard for all other hosts.

        Raises:
            ValueError: A server is no host and port.
        """
        self.guard = web or Guard()
        super().__init__(self.guard)
        self._places = {name.lower(): _place(name, where) for name, where in sites.items()}
        self._web = web is not None

    def check(self, host: str) -> None:
        """Check a host.

        Raises:
            Refused: It is none of the sites, and the web is closed.
        """
        if not self._web and host not in self._places:
            raise Refused(f"{host} refused: only {', '.join(sorted(self._places)) or 'nothing'} can be visited")

    async def connect(self, host: str, port: int, seconds: float = CONNECT_SECONDS) -> httpcore.AsyncNetworkStream:
        """Connect to the server of a site, or to a host that the guard allows.

        Raises:
            Refused: The host is none of the sites, and the web is closed or the guard refuses it.
            ToolError: There is no such host.
            httpcore.ConnectError: The server does not accept the connection.
            httpcore.ConnectTimeout: The server does not answer.
        """
        if place := self._places.get(host):
            return await dial(*place, seconds)
        self.check(host)
        return await super().connect(host, port, seconds)


def _place(name: str, where: str) -> tuple[str, int]:
    host, _, port = where.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"site {name!r}: its server is {where!r}, must be host:port, e.g. '127.0.0.1:8000'")
    return host.strip("[]"), int(port)
