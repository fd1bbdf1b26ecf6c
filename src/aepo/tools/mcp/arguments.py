"""Checks arguments against the JSON schema that a server gives.

The check runs in a process of its own, because a check that takes too long must be stopped.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from aepo.tools.base import BadArguments
from aepo.types import ToolError

_log = logging.getLogger(__name__)

_CHECK = Path(__file__).with_name("check.py")
_DEEPEST, _LONGEST = 64, 1 << 20
_LONGEST_ANSWER = 16 << 20
_SHOWN = 150
_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.IncompleteRead, anyio.DelimiterNotFound)
_READY_SECONDS = 60.0


def plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Make plain JSON of the arguments that a model wrote; a lone surrogate becomes `?`.

    Raises:
        ToolError: The arguments hold NaN or an object that JSON does not know, are too long, or are nested too deep.
    """
    try:
        text = json.dumps(dict(arguments), ensure_ascii=False, allow_nan=False)
        values: dict[str, Any] = json.loads(text.encode("utf-8", "replace"))
        deep = _depth(values) > _DEEPEST
        long = len(text) > _LONGEST
    except RecursionError:
        raise ToolError("nested too deep") from None
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ToolError(f"not plain JSON ({error})") from None
    if long:
        raise ToolError(f"longer than {_LONGEST} characters")
    if deep:
        raise ToolError(f"nested more than {_DEEPEST} deep")
    return values


class Checks:
    """Asks whether arguments fit schemas. One event loop uses it; nothing is ever fetched for a schema.

    Some things cannot be checked here: a pattern that only another engine reads, or a schema that takes too long. They
    are left to the server, which checks the arguments again.
    """

    def __init__(self, name: str, seconds: float = 2.0) -> None:
        """Set the limits; the first check starts the process.

        Args:
            name: The server's name, in messages.
            seconds: The time that one check may take.
        """
        self._name, self._seconds = name, seconds
        self._lock = anyio.Lock()
        self._process: Process | None = None
        self._told: set[tuple[str, str]] = set()

    async def usable(self, tool: str, schema: Mapping[str, Any]) -> None:
        """Check that the schema of a tool's arguments can be used.

        Raises:
            ValueError: The schema is not valid, does not describe an object, or refers to something outside of itself.
        """
        if schema.get("type") != "object":
            raise ValueError(f'its arguments have the type {schema.get("type")!r}, not "object"')
        refused = (await self._asked(tool, schema, {})).get("refused")
        if refused is not None:
            raise ValueError(f"its arguments have no valid JSON schema: {refused}")

    async def check(self, tool: str, schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
        """Check that the arguments fit the schema, as far as this can be checked here.

        Raises:
            BadArguments: They do not fit.
        """
        answer = await self._asked(tool, schema, arguments)
        if errors := answer.get("errors"):
            raise BadArguments("; ".join(_words(path, message) for path, message in errors))

    async def close(self) -> None:
        """End the process."""
        if self._process is not None:
            process, self._process = self._process, None
            with suppress(ProcessLookupError):
                process.kill()
            with anyio.CancelScope(shield=True):
                await process.aclose()

    async def _asked(self, tool: str, schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
        try:
            question = json.dumps([json.dumps(schema), arguments])
        except RecursionError:
            return {"refused": "nested too deep"}
        answer: dict[str, Any] = {}
        async with self._lock:
            try:
                process = await self._started()
                with anyio.fail_after(self._seconds):
                    await process.stdin.send(question.encode() + b"\n")
                    answer = await self._line()
                    if answer.get("fits") is False:
                        # To name the errors can take much longer than to find that there is one. If the next line comes
                        # too late, this answer is used.
                        answer["errors"] = [[[], "they do not fit its schema"]]
                        answer |= await self._line()
            except BaseException as error:
                await self.close()
                if not isinstance(error, (OSError, *_GONE)):  # a TimeoutError is an OSError
                    raise
                if not answer:
                    self._say(tool, "its arguments take too long to check")
        for pattern in answer.get("skipped", ()):
            self._say(tool, f"the pattern {pattern[:80]!r} cannot be read here")
        return answer

    async def _started(self) -> Process:
        if self._process is None:
            # Isolated mode (-I) would hide the user's packages; -P only keeps this folder off the import path.
            command = [sys.executable, "-P", str(_CHECK)]
            self._process = await anyio.open_process(command, stderr=subprocess.DEVNULL, start_new_session=True)
            self._lines = BufferedByteReceiveStream(self._process.stdout)
            with anyio.fail_after(_READY_SECONDS):
                await self._line()
        return self._process

    async def _line(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await self._lines.receive_until(b"\n", _LONGEST_ANSWER))
        return answer

    def _say(self, tool: str, what: str) -> None:
        if (tool, what) not in self._told:
            self._told.add((tool, what))
            _log.warning("MCP server %s: tool %r: %s; the server alone checks it", self._name, tool, what)


def _words(path: list[Any], message: str) -> str:
    where = ".".join(map(str, path))
    if len(message) > _SHOWN:
        # The message begins with the value, which may be long, and ends with what was expected.
        message = f"{message[: _SHOWN // 2]} ... {message[-_SHOWN // 2 :]}"
    return f"{where}: {message}" if where else message


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)
