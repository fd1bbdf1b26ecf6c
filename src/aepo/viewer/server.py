"""Serves the page: static files, and JSON about folders that may still grow."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import uvicorn
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from aepo.files.json_data import finite
from aepo.viewer import views
from aepo.viewer.policy import LOOPBACK, HostGuard
from aepo.viewer.source import Source

PORT = 6880


def app(sources: Sequence[Source], host: str = LOOPBACK[1]) -> Starlette:
    """The application.

    Args:
        sources: One folder, or two to be compared.
        host: The address that it will listen on.
    """
    static = files("aepo.viewer") / "static"

    async def page(request: Request) -> Response:
        return FileResponse(str(static / "page.html"))

    async def view(request: Request) -> Response:
        return await _answer(lambda: views.view(sources, live=True))

    async def metrics(request: Request) -> Response:
        after = request.query_params.get("after", "0")
        return await _answer(lambda: views.metrics(_source(sources, request), int(after)))

    async def questions(request: Request) -> Response:
        return await _answer(lambda: views.questions(_source(sources, request).section(request.path_params["key"])))

    async def question(request: Request) -> Response:
        at = request.path_params
        return await _answer(lambda: views.question(_source(sources, request).section(at["key"]), at["index"]))

    routes = [
        Route("/", page),
        Route("/data/view.json", view),
        Route("/data/runs/{run:int}/metrics.json", metrics),
        Route("/data/runs/{run:int}/sections/{key}.json", questions),
        Route("/data/runs/{run:int}/sections/{key}/{index:int}.json", question),
        Mount("/static", StaticFiles(directory=str(static))),
    ]
    return Starlette(routes=routes, middleware=[Middleware(HostGuard, host=host)])


def listening(host: str, port: int | None) -> socket.socket:
    """A socket that listens on `port`; by default on `PORT`, or on any free port if that is taken.

    Raises:
        ValueError: The address cannot be listened on.
    """
    for tried in (PORT, 0) if port is None else (port,):
        try:
            family, _, _, _, address = socket.getaddrinfo(host, tried, type=socket.SOCK_STREAM)[0]
            return socket.create_server(address[:2], family=family)
        except OSError as error:
            refused = error
    raise ValueError(f"cannot listen on {host}, port {port}: {refused.strerror or refused}; choose another --port")


def serve(sources: Sequence[Source], at: socket.socket, host: str) -> None:
    """Serve until the process is interrupted."""
    config = uvicorn.Config(app(sources, host), log_level="warning", access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[at])


def _source(sources: Sequence[Source], request: Request) -> Source:
    run: int = request.path_params["run"]
    if run >= len(sources):
        raise KeyError(run)
    return sources[run]


async def _answer(ask: Callable[[], Any]) -> Response:
    """The response, or one line with the error; files are read in a thread."""
    try:
        status, value = 200, await run_sync(lambda: _encoded(ask()))
    except KeyError as error:
        status, value = 404, _encoded({"error": f"there is no {error.args[0]} here"})
    except (ValueError, OSError) as error:
        status, value = 422, _encoded({"error": " ".join(str(error).split())})
    return Response(value, status, media_type="application/json")


def _encoded(value: Any) -> bytes:
    # A lone surrogate, which a broken tokenizer may give, becomes \udcxx: inside JSON that is the same character.
    text = json.dumps(finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")
