"""A small internet on loopback: names with made-up public addresses, all served by one scripted server."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import httpcore
import pytest

from aepo.tools.pages.connect import dial as really_dial
from aepo.tools.sandbox.base import Sandbox, SandboxUnavailable
from aepo.tools.sandbox.choose import choose

PUBLIC = "93.184.216.34"
OTHER = "93.184.216.35"

Answer = bytes | Callable[[socket.socket], None]


class Site:
    """A server whose answer to each path is written by the test, byte for byte."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # Closing alone does not wake a thread that accepts.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._open.add(connection)
        with connection, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (chunk := connection.recv(1 << 16)):
                    return
                head += chunk
            path = head.split()[1].decode()
            self.asked.append(path)
            answer = self.answers.get(path, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            if callable(answer):
                answer(connection)
            else:
                connection.sendall(answer)
        self._open.discard(connection)


@dataclass
class Net:
    """What `resolve` and `dial` of a guard see, and what was asked of them."""

    site: Site
    names: dict[str, list[str]] = field(default_factory=lambda: {"site.test": [PUBLIC]})
    resolved: list[str] = field(default_factory=list)
    dialled: list[tuple[str, int]] = field(default_factory=list)

    async def resolve(self, host: str, port: int) -> list[str]:
        self.resolved.append(host)
        if host in self.names:
            return self.names[host]
        # Only what needs no lookup: addresses, in all the spellings that the system knows.
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        return [str(entry[4][0]) for entry in found]

    async def dial(self, address: str, port: int, seconds: float) -> httpcore.AsyncNetworkStream:
        self.dialled.append((address, port))
        return await really_dial("127.0.0.1", self.site.port, seconds)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


@pytest.fixture
def net(site: Site) -> Net:
    return Net(site)


@pytest.fixture(scope="session", params=["sandlock", "bubblewrap"])
def reader(request: pytest.FixtureRequest) -> Sandbox:
    """A sandbox that can read the libraries for pages."""
    try:
        return choose(request.param, "host")
    except SandboxUnavailable as error:
        if "not contained" in str(error):
            raise
        pytest.skip(str(error))


def answer(body: bytes | str, kind: str = "text/html", status: str = "200 OK", **headers: str) -> bytes:
    """An answer with its length; `headers` with _ for -."""
    body = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


redirect = partial(answer, b"", status="302 Found")
