"""Serves the page: static files, and JSON about folders that may still grow."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
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
from aepo.viewer.learned import learned
from aepo.viewer.policy import LOOPBACK, HostGuard
from aepo.viewer.source import Source, open_source

PORT = 6880


def app(sources: Sequence[Source], host: str = LOOPBACK[1], path: Path | None = None) -> Starlette:
    """The application.

    The page of these folders is at `/`; at `/at/2/` is that of the third alone, at `/at/0+2/` two side by side, and at
    `/at/2.0/` the first evaluation inside of the third.

    Args:
        sources: One folder, or two to be compared; any number with `path`.
        host: The address that it will listen on.
        path: The folder that the runs are in; they are then listed at `/`.
    """
    static = files("aepo.viewer") / "static"

    def shown(request: Request) -> Sequence[Source]:
        which = request.path_params.get("which")
        return sources if which is None else [_source(sources, key) for key in which.split("+")]

    def one(request: Request) -> Source:
        return _source(shown(request), str(request.path_params["run"]))

    async def page(request: Request) -> Response:
        return FileResponse(str(static / "page.html"))

    async def view(request: Request) -> Response:
        which = request.path_params.get("which")
        if which is None and path is not None:
            return await _answer(lambda: views.runs(sources, path))
        keys = ("0", "1") if which is None else which.split("+")
        return await _answer(lambda: views.view(shown(request), True, keys, up=which is not None))

    async def metrics(request: Request) -> Response:
        after = request.query_params.get("after", "0")
        return await _answer(lambda: views.metrics(one(request), int(after)))

    async def held_out(request: Request) -> Response:
        return await _answer(lambda: learned(one(request)))

    async def instructions(request: Request) -> Response:
        return await _answer(lambda: views.instructions(one(request)))

    async def questions(request: Request) -> Response:
        return await _answer(lambda: views.questions(one(request).section(request.path_params["key"])))

    async def question(request: Request) -> Response:
        at = request.path_params
        return await _answer(lambda: views.question(one(request).section(at["key"]), at["index"]))

    routes = [
        Route("/", page),
        Route("/data/view.json", view),
        Route("/data/runs/{run:int}/metrics.json", metrics),
        Route("/data/runs/{run:int}/learned.json", held_out),
        Route("/data/runs/{run:int}/instructions.json", instructions),
        Route("/data/runs/{run:int}/sections/{key}.json", questions),
        Route("/data/runs/{run:int}/sections/{key}/{index:int}.json", question),
        Mount("/static", StaticFiles(directory=str(static))),
    ]
    every = [Mount("/at/{which}", routes=routes), *routes]
    return Starlette(routes=every, middleware=[Middleware(HostGuard, host=host)])


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


def serve(sources: Sequence[Source], at: socket.socket, host: str, path: Path | None = None) -> None:
    """Serve until the process is interrupted; arguments as of `app`."""
    config = uvicorn.Config(app(sources, host, path), log_level="warning", access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[at])


def _source(sources: Sequence[Source], key: str) -> Source:
    """The folder of a key: its number, or with a second number an evaluation inside of it; KeyError without one."""
    number, _, inner = key.partition(".")
    try:
        source = sources[int(number)]
        return open_source(source.evaluations()[int(inner)]) if inner else source
    except (ValueError, IndexError):
        raise KeyError(key) from None


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
