"""A server on loopback that answers as it is told, also wrongly, and a time that passes only in sleeps."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import SocketAttribute, SocketStream

Reply = Callable[[SocketStream], Awaitable[None]]


@dataclass
class Asked:
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Loopback:
    """What a server has seen.

    Attributes:
        url: Where it listens.
        asked: All requests.
        open: Requests that are not answered yet, now and at most.
    """

    url: str
    asked: list[Asked] = field(default_factory=list)
    open: int = 0
    most_open: int = 0


@asynccontextmanager
async def loopback(*replies: Reply) -> AsyncIterator[Loopback]:
    """Serve the replies in order, the last of them again and again; one request a connection."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    server = Loopback(f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}")

    async def handle(stream: SocketStream) -> None:
        async with stream:
            try:
                server.asked.append(await _request(stream))
                server.open += 1
                server.most_open = max(server.open, server.most_open)
                try:
                    await replies[min(len(server.asked), len(replies)) - 1](stream)
                finally:
                    server.open -= 1
            except (anyio.BrokenResourceError, anyio.EndOfStream):
                pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield server
        tasks.cancel_scope.cancel()
    await listener.aclose()


async def _request(stream: SocketStream) -> Asked:
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive()
    head, body = data.split(b"\r\n\r\n", 1)
    line, *rest = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (entry.split(": ", 1) for entry in rest)}
    while len(body) < int(headers.get("content-length", 0)):
        body += await stream.receive()
    return Asked(line, headers, body)


def raw(*parts: bytes) -> Reply:
    """These bytes, then the end of the connection."""

    async def reply(stream: SocketStream) -> None:
        for part in parts:
            await stream.send(part)

    return reply


def answer(data: Any, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """JSON, or bytes as they are."""
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    lines = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
    head = "".join(f"{name}: {value}\r\n" for name, value in (lines | (headers or {})).items())
    return raw(f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + body)


async def reset(stream: SocketStream) -> None:
    """Break the connection instead of answering."""
    sock = stream.extra(SocketAttribute.raw_socket)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def drip(stream: SocketStream) -> None:
    """A byte now and then, for ever."""
    await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n[")
    while True:
        await stream.send(b" ")
        await anyio.sleep(0.01)


async def endless(stream: SocketStream) -> None:
    """As much as the other side takes."""
    await stream.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        await stream.send(b" " * 65536)


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await anyio.lowlevel.checkpoint()
        if seconds > 0:
            self.slept.append(round(seconds, 6))
            self.now += seconds
