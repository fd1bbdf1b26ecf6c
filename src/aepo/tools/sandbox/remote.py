"""Runs programs on another machine, over HTTP in the format of SandboxFusion (github.com/bytedance/SandboxFusion).

This process cannot check what that machine contains. SandboxFusion's own local setting does not isolate programs.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

import anyio
import httpx

from aepo.tools.address import NO_REDIRECTS, service_address
from aepo.tools.retry import TryFailed, retried
from aepo.tools.sandbox.base import SandboxLimits, SandboxResult, SandboxStatus
from aepo.tools.sandbox.outcome import FAULTS, ended

_REPLY = 16 << 20
"""Bytes of a reply that are read. The server keeps two streams of 1 MiB, which take at most 12 MiB as JSON."""
_SERVER_KEEPS = 1 << 20
_TRIES = 3
_SPARE_SECONDS = 20.0
"""Time for the network, the server's queue and further tries, besides the program's own time."""


class RemoteSandbox:
    """Runs programs by `POST {url}/run_code`. Its name contains the address."""

    def __init__(self, url: str, limits: SandboxLimits | None = None) -> None:
        """Set the service's address and the limits; only those on memory and output are used.

        Raises:
            ValueError: The address is not an HTTP address, or holds a user name or a password.
        """
        try:
            parsed = service_address(url)
        except ValueError:
            raise ValueError(f"a sandbox's address is http://host:port, not {url!r}") from None
        if parsed.username is not None or parsed.password is not None:
            raise ValueError(f"the sandbox at {parsed.hostname}: the address goes into records, leave its user out")
        self.url = url.rstrip("/")
        self.name = f"remote {self.url}"
        self.limits = limits or SandboxLimits()

    async def run(self, code: str, timeout: float) -> SandboxResult:
        """See `Sandbox.run`. If the service fails, there are at most three tries."""
        started = time.monotonic()
        try:
            code.encode()
        except UnicodeEncodeError as error:
            # A lone surrogate cannot be written to a file, so the server would refuse the request.
            return SandboxResult(SandboxStatus.ERROR, "", f"SyntaxError: {error.reason}\n", 1)

        async def once() -> SandboxResult:
            return self._result(await self._post(code, timeout), time.monotonic() - started)

        reasons = ["no reply in time"]
        with anyio.move_on_after(timeout + _SPARE_SECONDS):
            try:
                return await retried(once, _TRIES, heard=lambda failure, attempt: reasons.append(str(failure)))
            except TryFailed as failure:
                reasons.append(str(failure))
        text = f"{self.url}: {reasons[-1]}"
        return SandboxResult(SandboxStatus.INFRASTRUCTURE_ERROR, "", text, None, time.monotonic() - started)

    async def _post(self, code: str, timeout: float) -> Mapping[str, Any]:
        body = {
            "code": code,
            "language": "python",
            "run_timeout": timeout,
            "compile_timeout": timeout,
            "memory_limit_MB": self.limits.memory >> 20,
        }
        # Each call has a client of its own: a client belongs to one event loop, and a process may have several.
        client = httpx.AsyncClient(
            trust_env=False,
            verify=_tls(),
            timeout=timeout + _SPARE_SECONDS,
            headers={"Accept-Encoding": "identity"},
            event_hooks=NO_REDIRECTS,
        )
        text = bytearray()
        try:
            async with client, client.stream("POST", f"{self.url}/run_code", json=body) as response:
                if response.status_code != 200:
                    again = response.status_code >= 500 or response.status_code in (408, 429)
                    raise TryFailed(f"HTTP {response.status_code}", again)
                if response.headers.get("Content-Encoding", "identity") != "identity":
                    raise TryFailed("a compressed reply, which was not asked for", False)
                async for chunk in response.aiter_raw():
                    text += chunk
                    if len(text) > _REPLY:
                        raise TryFailed(f"a reply of more than {_REPLY >> 20} MiB", False)
        except httpx.HTTPError as error:
            raise TryFailed(f"{type(error).__name__}: {error}", True) from error
        try:
            reply = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise TryFailed(f"not JSON: {error}", True) from error
        if not isinstance(reply, dict):
            raise TryFailed("not a JSON object", False)
        return reply

    def _result(self, reply: Mapping[str, Any], seconds: float) -> SandboxResult:
        ran = reply.get("run_result")
        if reply.get("status") not in ("Success", "Failed") or not isinstance(ran, dict):
            raise TryFailed(f"{str(reply.get('status'))[:40]}: {str(reply.get('message'))[:300]}", True)
        out, err = (str(ran.get(stream) or "").encode("utf-8", "replace") for stream in ("stdout", "stderr"))
        stdout = out[: self.limits.output_kept].decode("utf-8", "ignore")
        stderr = err[-self.limits.output_kept :].decode("utf-8", "replace")
        returncode = ran.get("return_code")
        if ran.get("status") == "TimeLimitExceeded":
            status, returncode = SandboxStatus.TIMEOUT, None
        elif ran.get("status") != "Finished" or not isinstance(returncode, int):
            raise TryFailed(f"run {str(ran.get('status'))[:40]}: {stderr[-300:]}", True)
        elif max(len(out), len(err)) >= _SERVER_KEEPS or len(out) + len(err) > self.limits.output_killed:
            status = SandboxStatus.OUTPUT_LIMIT
        else:
            # The server starts programs by a shell, which reports a signal as 128 + n. A program may also exit with
            # such a number, so only usual signals are read this way.
            returncode = 128 - returncode if returncode - 128 in FAULTS else returncode
            status = ended(returncode, returncode < 0, stderr)
        return SandboxResult(status, stdout, stderr, returncode, seconds, len(out.decode()) - len(stdout))


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
