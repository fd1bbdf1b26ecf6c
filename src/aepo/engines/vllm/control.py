"""Controls weights, adapters and memory of a vLLM server by its own HTTP interface.

Each call is made once and has its own time limit. If the engine dies during a call, no answer comes. A second attempt
would find a model that is half loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from aepo.engines.openai.client import message_of

SECONDS = 60.0
UPDATE_SECONDS = 600.0
"""Seconds that are enough for the largest model, because it is read from memory."""


class VllmError(RuntimeError):
    """A vLLM server fails to do what it is asked; the message quotes the server."""


class Control:
    """Controls one vLLM server.

    Attributes:
        url: The server's address, without "/v1".
    """

    def __init__(self, url: str) -> None:
        """Set the server; no request is sent."""
        self.url = url.rstrip("/").removesuffix("/v1").rstrip("/")

    def alive(self) -> bool:
        """Whether the server answers that it is ready."""
        try:
            return self._send("GET", "/health", None, 5.0).is_success
        except VllmError:
            return False

    def version(self) -> str:
        """The version of vLLM, e.g. "0.32.0"."""
        return str(self._json("GET", "/version").get("version", ""))

    def settings(self) -> dict[str, Any]:
        """The configuration of vLLM that the server was started with, by section.

        Raises:
            VllmError: The server was started without VLLM_SERVER_DEV_MODE=1, or does not answer.
        """
        found = self._json("GET", "/server_info?config_format=json")
        told = found.get("vllm_config")
        if not isinstance(told, dict):
            raise VllmError(f"server {self.url} does not tell how it was started: start it with VLLM_SERVER_DEV_MODE=1")
        return told

    def begin(self) -> None:
        """Prepare the server for weights; call it once, before the first `update`."""
        self._post("/init_weight_transfer_engine", {"init_info": {}})

    def limit_vocabulary(self, size: int) -> None:
        """Let the server sample only ids below `size`."""
        self._post("/collective_rpc", {"method": "aepo_vocabulary", "args": [size]})

    def update(self, file: Path, version: int) -> list[str]:
        """Let the server load all weights from a file. Requests under way wait and go on with the new weights.

        The order matters. Without the pause the engine dies, because its weights are missing between start and finish.
        Keys and values of the old weights stay cached until they are reset. After a failure the server must not go on.

        Returns:
            One JSON text per worker, see `worker.Extension.aepo_arrived`.

        Raises:
            VllmError: A call failed; the server cannot be used any more.
        """
        self._post("/pause?mode=keep")
        self._post("/start_weight_update", seconds=UPDATE_SECONDS)
        self._post("/update_weights", {"update_info": {"path": str(file)}}, UPDATE_SECONDS)
        self._post("/finish_weight_update", {"weight_version": str(version)}, UPDATE_SECONDS)
        arrived = self._post("/collective_rpc", {"method": "aepo_arrived"})
        self.reset_cache()
        self._post("/resume")
        return [str(one) for one in arrived.get("results", ())]

    def reset_cache(self) -> None:
        """Let the server drop the cached keys and values of prompts."""
        self._post("/reset_prefix_cache?reset_running_requests=true")

    def load_adapter(self, name: str, folder: Path) -> None:
        """Let the server serve an adapter as a model of that name."""
        self._post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)}, UPDATE_SECONDS)

    def unload_adapter(self, name: str) -> None:
        """Let the server drop an adapter; requests under way are still answered."""
        self._post("/v1/unload_lora_adapter", {"lora_name": name})

    def sleep(self, level: int) -> None:
        """Let the server free its memory. Level 1 keeps the weights in the host's memory, level 2 drops them.

        Raises:
            VllmError: The server cannot sleep.
        """
        self._post(f"/sleep?level={level}&mode=wait", seconds=UPDATE_SECONDS)

    def wake(self, what: str) -> None:
        """Let the server take memory again, for "weights" or "kv_cache"."""
        self._post(f"/wake_up?tags={what}", seconds=UPDATE_SECONDS)

    def _post(self, path: str, body: dict[str, Any] | None = None, seconds: float = SECONDS) -> dict[str, Any]:
        return self._json("POST", path, body, seconds)

    def _json(
        self, method: str, path: str, body: dict[str, Any] | None = None, seconds: float = SECONDS
    ) -> dict[str, Any]:
        reply = self._send(method, path, body, seconds)
        if not reply.is_success:
            said = message_of(reply) or reply.text.strip()[:300]
            hint = "; is it started with VLLM_SERVER_DEV_MODE=1?" if reply.status_code == 404 else ""
            raise VllmError(f"server {self.url} refuses {path} (HTTP {reply.status_code}): {said or 'no reason'}{hint}")
        try:
            data = reply.json()
        except ValueError:
            return {}
        return data if isinstance(data, dict) else {}

    def _send(self, method: str, path: str, body: dict[str, Any] | None, seconds: float) -> httpx.Response:
        try:
            with httpx.Client(timeout=httpx.Timeout(seconds, connect=10.0), trust_env=False) as client:
                return client.request(method, self.url + path, json=body)
        except httpx.TransportError as error:
            told = (
                "no reply in time" if isinstance(error, httpx.TimeoutException) else str(error) or type(error).__name__
            )
            raise VllmError(f"server {self.url}, {path}: {told}") from None
