"""A writer behind a loopback server: it replies with what it was told to, in order, and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class ScriptedWriter:
    """What it replies, and what it was asked."""

    replies: list[str | None]
    url: str = ""
    asked: list[str] = field(default_factory=list)


@contextmanager
def writing(*replies: str | None) -> Iterator[ScriptedWriter]:
    """Serve the replies; the last one again and again. None is a message without text."""
    writer = ScriptedWriter(list(replies))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send({"data": [{"id": "scripted", "owned_by": "tests"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            reply = writer.replies[min(len(writer.asked), len(writer.replies) - 1)]
            writer.asked.append(body["messages"][-1]["content"])
            self._send({"choices": [{"message": {"role": "assistant", "content": reply}}]})

        def _send(self, value: object) -> None:
            data = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    writer.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield writer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
