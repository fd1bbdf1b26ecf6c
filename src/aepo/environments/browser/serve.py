"""Serves a site on loopback for as long as the process lives."""

from __future__ import annotations

import socket
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

App = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]
]
"""An ASGI application, such as one of Starlette."""


def serve(app: Any) -> str:
    """Serve an ASGI application on a free port of 127.0.0.1, in a thread.

    Returns:
        Host and port, to be given to `Browser(sites=...)`.

    Raises:
        OSError: No port can be had.
    """
    at = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
    threading.Thread(target=uvicorn.Server(config).run, args=([at],), name="aepo site", daemon=True).start()
    return f"127.0.0.1:{at.getsockname()[1]}"
