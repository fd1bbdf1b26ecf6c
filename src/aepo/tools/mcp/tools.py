"""`mcp_tools`: what a server offers, as tools of a task."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aepo.tools.address import service_address
from aepo.tools.base import Tool
from aepo.tools.mcp.arguments import checker
from aepo.tools.mcp.connection import Connection, McpServerError
from aepo.tools.mcp.http import http
from aepo.tools.mcp.server import Server
from aepo.tools.mcp.stdio import stdio
from aepo.types import ToolError

if TYPE_CHECKING:
    import mcp_types
    from mcp.client._transport import TransportStreams

    from aepo.tools.mcp.life import Life

_INHERITED = ("PATH", "HOME", "LANG")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


def mcp_tools(
    server: Sequence[str] | str,
    *,
    name: str | None = None,
    names: Sequence[str] | Mapping[str, str] | None = None,
    prefix: str = "",
    environment: Mapping[str, str] | None = None,
    inherit: Sequence[str] = (),
    folder: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30.0,
    start_timeout: float = 60.0,
    concurrency: int = 32,
    max_characters: int = 4000,
    restarts: int = 10,
) -> list[Tool]:
    """Start or reach an MCP server, and make a tool of each of its tools.

    All tools share one session, which lasts as long as they do. After the server's death it is opened again, with
    growing pauses; a call that was in flight is repeated only if the server declares its tool read-only or idempotent.
    The server itself is trusted like any program that you run; what it says is not.

    Args:
        server: A command line, for a server of which this process is the only client, or the URL of one.
        name: Of the server, in messages; by default the program's or the host's.
        names: The tools to take, by the server's names; a mapping gives them others. All by default.
        prefix: Before each name.
        environment: Variables for a command. It has these, PATH, HOME and LANG, and no others.
        inherit: Names of further variables that a command gets as they are here.
        folder: Where a command runs; here by default.
        headers: For a URL: each header's name, and the name of the environment variable that holds its value.
        timeout: Seconds for one call, a restart before it included.
        start_timeout: Seconds that the server may take for each answer while it starts.
        concurrency: Calls at once, for each tool.
        max_characters: Longer results are cut.
        restarts: Deaths in a row, with no call answered between them, that are survived.

    Raises:
        ImportError: The extra `[mcp]` is not installed.
        ValueError: An argument does not fit, a variable is not set, or the server has no such tool.
        McpServerError: The server does not start, or offers a tool that a model cannot call.
    """
    try:
        import mcp  # noqa: F401
    except ImportError as error:
        raise ImportError("MCP servers need the extra: pip install 'aepo-rl[mcp]'") from error
    for limit, value in (("timeout", timeout), ("concurrency", concurrency), ("max_characters", max_characters)):
        if value <= 0:
            raise ValueError(f"mcp_tools: {limit} is {value}, must be positive")
    called, transport = _transport(server, environment or {}, inherit, folder, headers or {})
    made = Server(Connection(name or called, transport, start_timeout, restarts))
    try:
        offered = made.tools()
        if names is None:
            taken = {tool: tool for tool in offered}
        else:
            taken = dict(names) if isinstance(names, Mapping) else {tool: tool for tool in names}
        for tool in taken:
            if tool not in offered:
                raise ValueError(f"MCP server {made.name} has no tool {tool!r}; it has: {', '.join(offered) or 'none'}")
        tools = [
            _tool(made, offered[tool], prefix + shown, timeout, concurrency, max_characters)
            for tool, shown in taken.items()
        ]
        if not tools:
            raise McpServerError(f"MCP server {made.name} has no tools")
        made.connection.used = frozenset(taken)
    except BaseException:
        made.close()
        raise
    return tools


def _transport(
    server: Sequence[str] | str,
    environment: Mapping[str, str],
    inherit: Sequence[str],
    folder: str | None,
    headers: Mapping[str, str],
) -> tuple[str, Callable[[Life], AbstractAsyncContextManager[TransportStreams]]]:
    """The server's name, and what makes a transport from a `Life`."""
    if isinstance(server, str):
        try:
            parts = service_address(server)
        except ValueError:
            raise ValueError(
                f"MCP server {server!r} is no http(s) URL; give a command as a list: ['program', 'argument']"
            ) from None
        if parts.username or parts.password:
            raise ValueError(f"the URL of MCP server {parts.hostname} holds a password: give it in headers=")
        if environment or inherit or folder:
            raise ValueError("environment=, inherit= and folder= are for commands, not for URLs")
        return parts.hostname, partial(http, server, {header: _variable(v) for header, v in headers.items()})
    if not server:
        raise ValueError("the command of an MCP server is empty")
    if headers:
        raise ValueError("headers= are for URLs, not for commands")
    here = {variable: os.environ[variable] for variable in _INHERITED if variable in os.environ}
    whole = here | {variable: _variable(variable) for variable in inherit} | dict(environment)
    return Path(server[0]).name, partial(stdio, list(server), whole, folder)


def _variable(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise ValueError(f"an MCP server needs the environment variable {name}, which is not set") from None


def _tool(
    server: Server, offered: mcp_types.Tool, name: str, timeout: float, concurrency: int, max_characters: int
) -> Tool:
    where = f"MCP server {server.name}: tool {offered.name!r}"
    if not _NAME.fullmatch(name):
        raise McpServerError(
            f"{where}: a model cannot write the name {name!r} (1 to 64 letters, digits, '_' and '-'): "
            f"give it another, or leave it out, with names="
        )
    try:
        check = checker(offered.input_schema)
    except ValueError as error:
        raise McpServerError(f"{where}: {error}; leave it out with names=") from None
    hints = offered.annotations
    repeatable = hints is not None and bool(hints.read_only_hint or hints.idempotent_hint)

    async def call(**arguments: Any) -> str:
        return text_of(await server.call(offered.name, arguments, timeout, repeatable))

    # Chat templates and tags read each argument's schema as a mapping; JSON schema also has `true` for "anything".
    properties = {
        argument: {} if one is True else one for argument, one in offered.input_schema.get("properties", {}).items()
    }
    parameters = {**offered.input_schema, "properties": properties}
    description = offered.description or offered.title or ""
    return Tool(name, description, parameters, call, check, timeout, concurrency, max_characters)


def text_of(result: mcp_types.CallToolResult) -> str:
    """What the model reads of a result: its texts; where there is none, its structured content as JSON.

    Raises:
        ToolError: The result is an error; the message is its text.
    """
    parts = [_part(part) for part in result.content]
    if result.structured_content is not None and not any(part.type == "text" for part in result.content):
        parts.append(json.dumps(result.structured_content, ensure_ascii=False))
    text = "\n".join(parts)
    if result.is_error:
        raise ToolError(text or "the tool failed and does not say why")
    return text or "done; it returned nothing"


def _part(part: mcp_types.ContentBlock) -> str:
    if part.type == "text":
        return part.text
    if part.type == "resource_link":
        return f"[link: {part.uri}]"
    if part.type == "resource":
        return getattr(part.resource, "text", f"[{part.resource.mime_type or 'data'} omitted]")
    return f"[{part.type} omitted]"
