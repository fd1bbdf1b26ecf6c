"""A small site on loopback for `soak.py` and `fault_run.py`: searches atlas by Search-R1's protocol, and serves pages.

python benchmarks/tool_site.py --port 8123 --faults 0.04
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aepo.tasks.atlas.world import world
from aepo.tools.search import Document, Index

PAGES = {
    "/page": b"<html><body><article><p>" + b"The capital of France is Paris. " * 40 + b"</p></article></body></html>",
    "/long": b"<html><body><article><p>" + b"A long page goes on and on. " * 20_000 + b"</p></article></body></html>",
    "/image": b"\x89PNG\r\n\x1a\n" + bytes(1000),
}
NESTED = b"<html><body>" + b"<div>" * 30_000 + b"deep"
BOMB = zlib.compress(bytes(200 << 20), wbits=31)


class Handler(BaseHTTPRequestHandler):
    """One request; a share of the searches is answered badly."""

    index: Index
    faults: float
    chance = random.Random(0)

    def do_POST(self) -> None:
        """A search; sometimes an error, a broken body or a reset connection."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        drawn = self.chance.random()
        if drawn < self.faults / 2:
            self.send_error(503)
            return
        if drawn < self.faults * 3 / 4:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        found = [
            [{"document": {"id": "0", "contents": f'""\n{text}'}, "score": 1.0} for text in hits]
            for hits in (self.index.search(query, asked["topk"]) for query in asked["queries"])
        ]
        body = json.dumps({"result": found}).encode()
        self._answer(body[: len(body) // 2] if drawn < self.faults else body, "application/json")

    def do_GET(self) -> None:
        """A page, or one of those that no parser should be trusted with."""
        if self.path == "/bomb":
            self._answer(BOMB, "text/html", "gzip")
        elif self.path == "/nested":
            self._answer(NESTED, "text/html")
        elif self.path == "/inside":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data/")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path in PAGES:
            self._answer(PAGES[self.path], "image/png" if self.path == "/image" else "text/html")
        else:
            self.send_error(404)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def _answer(self, body: bytes, kind: str, encoding: str | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if encoding:
            self.send_header("Content-Encoding", encoding)
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True


class Server(ThreadingHTTPServer):
    """Many connections at once; a client that goes away is no news."""

    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


class Site:
    """The site in a process of its own, which can be stopped and started again."""

    def __init__(self, faults: float = 0.0) -> None:
        """Start it."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.faults = faults
        self.start()

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Until it answers."""
        self.process = subprocess.Popen([sys.executable, __file__, f"--port={self.port}", f"--faults={self.faults}"])
        while self.process.poll() is None:
            try:
                urllib.request.urlopen(f"{self.url}/page", timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("the site did not start")

    def stop(self) -> None:
        """At once: whoever is being answered hears no more."""
        self.process.kill()
        self.process.wait()


def main() -> None:
    """Serve until the process that started this one is gone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--faults", type=float, default=0.0, help="share of searches that are answered badly")
    options = parser.parse_args()
    Handler.index = Index(Document(*d) for d in world().documents())
    Handler.faults = options.faults
    server = Server(("127.0.0.1", options.port), Handler)
    parent = os.getppid()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while os.getppid() == parent:
        time.sleep(1)


if __name__ == "__main__":
    main()
