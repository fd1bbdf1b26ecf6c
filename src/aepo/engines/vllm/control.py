"""Controls a vLLM server by its own HTTP interface.

Each call is made once and has its own time limit. If the engine dies during a call, no answer comes. A second attempt
would find a model that is half loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from aepo.engines.openai.client import Endpoint, message_of

SECONDS = 60.0
UPDATE_SECONDS = 600.0
"""Seconds that are enough for the largest model, because it is read from memory."""


class VllmError(RuntimeError):
    """A vLLM server fails to do what it is asked; the message quotes the server."""


class Control:
    """Controls the vLLM server at an address, or on a Unix socket."""

    def __init__(self, url: str, socket: Path | None = None) -> None:
        self.endpoint = Endpoint(url, direct=True, socket=socket)
        self._name = "the vLLM server" if socket else f"server {self.endpoint.root}"

    def alive(self) -> bool:
        """Whether the server answers that it is ready."""
        try:
            self._ask("GET", "/health", None, 5.0)
        except VllmError:
            return False
        return True

    def get(self, path: str) -> dict[str, Any]:
        """The reply to a GET.

        Raises:
            VllmError: The server refuses, or does not answer.
        """
        return self._ask("GET", path, None, SECONDS)

    def post(self, path: str, body: Mapping[str, Any] | None = None, seconds: float = SECONDS) -> dict[str, Any]:
        """The reply to a POST of JSON; errors as of `get`."""
        return self._ask("POST", path, body, seconds)

    def workers(self, method: str, *args: Any) -> list[dict[str, Any]]:
        """What each process that computes replies to a method of `worker.Extension`; errors as of `get`."""
        return list(self.post("/collective_rpc", {"method": method, "args": args}).get("results", ()))

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None, seconds: float) -> dict[str, Any]:
        socket = self.endpoint.socket
        # A transport of its own asks no proxy. Certificates, which nobody needs here, take time to read.
        transport = httpx.HTTPTransport(verify=False, uds=str(socket) if socket else None)
        try:
            with httpx.Client(transport=transport, timeout=httpx.Timeout(seconds, connect=10.0)) as client:
                reply = client.request(method, self.endpoint.root + path, json=body)
        except httpx.TransportError as error:
            late = isinstance(error, httpx.TimeoutException)
            told = "no reply in time" if late else str(error) or type(error).__name__
            raise VllmError(f"{self._name}, {path}: {told}") from None
        if not reply.is_success:
            said = message_of(reply) or reply.text.strip()[:300] or "no reason"
            hint = "; is it started with VLLM_SERVER_DEV_MODE=1?" if said == "Not Found" else ""
            raise VllmError(f"{self._name} refuses {path} (HTTP {reply.status_code}): {said}{hint}")
        # Some replies are empty or plain text.
        return dict(reply.json()) if "json" in reply.headers.get("content-type", "") else {}
