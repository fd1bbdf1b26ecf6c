"""An MCP server made with the SDK, over stdio, or over HTTP on a free port of loopback, which it prints."""

import asyncio
import socket
import sys

import uvicorn
from mcp.server import MCPServer
from pydantic import BaseModel

server = MCPServer("good")
running, most = 0, 0
enough = asyncio.Event()


class Place(BaseModel):
    """Where something is."""

    row: int
    tags: list[str] = []


@server.tool()
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def where(place: Place) -> str:
    """Describe a place."""
    return f"row {place.row}, {len(place.tags)} tags"


@server.tool()
async def meet(others: int) -> str:
    """Wait until so many calls run at once."""
    global running, most
    running += 1
    most = max(most, running)
    if running >= others:
        enough.set()
    await enough.wait()
    running -= 1
    return str(most)


@server.tool()
def long(characters: int) -> str:
    """A long text."""
    return "x" * characters


@server.tool()
def broken() -> str:
    """Fail."""
    raise ValueError("nothing there")


if sys.argv[1:] == ["http"]:
    listening = socket.create_server(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(server.streamable_http_app(), log_level="error")
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))
else:
    server.run("stdio")
