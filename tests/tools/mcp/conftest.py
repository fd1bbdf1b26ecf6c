"""Servers in processes of their own, and what is left of them."""

import gc
import os
import select
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from aepo.tools.base import Tool
from aepo.tools.mcp import mcp_tools
from aepo.types import ToolResult

FAULTY, GOOD = Path(__file__).with_name("faulty.py"), Path(__file__).with_name("good.py")

Start = Callable[..., dict[str, Tool]]


def call(tool: Tool, **arguments: Any) -> ToolResult:
    """One call in an event loop of its own."""
    return anyio.run(tool.call, arguments)


def pids(folder: Path) -> list[int]:
    """The pids of all that a faulty server started, its earlier lives included."""
    return [int(file.read_text()) for file in sorted(folder.iterdir())]


def ends(pid: int) -> bool:
    """Whether the process has ended, or does so within half a minute."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 30)[0])
    finally:
        os.close(process)


@pytest.fixture
def start() -> Iterator[Start]:
    """Makes the tools of a server, which ends with the test."""
    made: list[dict[str, Tool]] = []

    def tools(server: Any, **options: Any) -> dict[str, Tool]:
        made.append({tool.name: tool for tool in mcp_tools(server, **options)})
        return made[-1]

    yield tools
    for one in made:
        one.clear()
    gc.collect()


@pytest.fixture
def faulty(start: Start, tmp_path: Path) -> Iterator[Start]:
    """Starts the server of `faulty.py`; at the end nothing of it is left."""

    def tools(*wrong: str, **options: Any) -> dict[str, Tool]:
        return start([sys.executable, str(FAULTY), str(tmp_path), *wrong], name="faulty", **options)

    yield tools
