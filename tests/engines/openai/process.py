"""A real model server in a process of its own, which ends with the test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

PATIENCE = 900.0
"""Seconds until it must be up."""


@contextmanager
def running(command: Callable[[int], Sequence[str]], log: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Start a server, wait until it is healthy, give its address.

    Args:
        command: From the port on loopback.
        log: What it says.
        environment: What it needs beside this process's variables.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with log.open("wb") as file:
        process = subprocess.Popen(
            command(port),
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**inherited, **environment},
            start_new_session=True,
        )
    try:
        ends = time.monotonic() + PATIENCE
        while not _healthy(port):
            assert process.poll() is None and time.monotonic() < ends, log.read_text(errors="replace")[-3000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def _healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).is_success
    except httpx.TransportError:
        return False
