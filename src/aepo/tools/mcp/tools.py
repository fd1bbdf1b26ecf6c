"""`mcp_tools` makes tools for a task from the tools of an MCP server."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aepo.files.paths import expanded
from aepo.tools.address import service_address
from aepo.tools.base import Tool, ToolSettings
from aepo.tools.mcp.arguments import plain
from aepo.tools.mcp.offer import McpServerError, Offered
from aepo.tools.mcp.result import text_of

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

    from aepo.tools.mcp.life import Life
    from aepo.tools.mcp.server import Server

_log = logging.getLogger(__name__)

_INHERITED = ("PATH", "HOME", "LANG")
_MOST_TOLD = 3
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

    All tools share one session, which lasts as long as they do. If the server dies, the session is opened again, with
    growing pauses. A call that was running then is repeated only if the server declares its tool read-only or
    idempotent. The server is trusted like any program that you run; its answers are not.

    Args:
        server: A command line, which starts a server for this process alone; or the URL of a running server.
        name: The server's name, in messages; by default the name of the program or of the host.
        names: The tools to take, by the server's names; a mapping gives them other names. By default all that can be
            used are taken, and each of the others is left out with a line in the log.
        prefix: A text that is put before each name.
        environment: Variables for a command. It gets these, PATH, HOME and LANG, and no others.
        inherit: Names of further variables that a command gets with the values that they have here.
        folder: The working directory of a command; by default that of this process.
        headers: For a URL: each header's name, and the name of the environment variable that holds its value.
        timeout: Seconds for one call, including a restart before it.
        start_timeout: Seconds that the server may take for each answer while it starts.
        concurrency: Calls at once, for each tool.
        max_characters: Longer results are cut to this length.
        restarts: How many deaths in a row, with no call answered between them, are survived.

    Raises:
        ImportError: The extra `[mcp]` is not installed.
        ValueError: An argument does not fit, a variable is not set, or the server has no such tool.
        McpServerError: The server does not start, has no tool that can be used, or one of `names` cannot be used.
    """
    try:
        import jsonschema_rs  # noqa: F401

        from aepo.tools.mcp.connection import Connection
        from aepo.tools.mcp.server import Server
    except ImportError as error:
        raise ImportError("MCP servers need the extra: pip install 'aepo-rl[mcp]'") from error
    common = ToolSettings(timeout=timeout, concurrency=concurrency, max_characters=max_characters).checked("mcp_tools")
    called, transport = _transport(server, environment or {}, inherit, folder, headers or {})
    made = Server(Connection(name or called, transport, start_timeout, restarts))
    try:
        taken = _taken(made, names, prefix)
        made.connection.used = frozenset(offered.name for offered, _ in taken)
        return [_tool(made, offered, replace(common, name=shown)) for offered, shown in taken]
    except BaseException:
        made.close()
        raise


def _transport(
    server: Sequence[str] | str,
    environment: Mapping[str, str],
    inherit: Sequence[str],
    folder: str | None,
    headers: Mapping[str, str],
) -> tuple[str, Callable[[Life], AbstractAsyncContextManager[TransportStreams]]]:
    """Return the server's name, and the function that makes a transport for a `Life`."""
    from aepo.tools.mcp.http import http
    from aepo.tools.mcp.stdio import stdio

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
    words = [expanded(word) for word in server]
    return Path(words[0]).name, partial(stdio, words, whole, None if folder is None else expanded(folder))


def _variable(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise ValueError(f"an MCP server needs the environment variable {name}, which is not set") from None


def _taken(server: Server, names: Sequence[str] | Mapping[str, str] | None, prefix: str) -> list[tuple[Offered, str]]:
    """Choose the tools to make, each with the name that the model uses.

    A tool that cannot be used is left out with a line in the log; it is an error if `names` asks for it.
    """
    offer = server.offer()
    chosen = offer.tools if names is None else names
    wanted = dict(chosen) if isinstance(names, Mapping) else {tool: tool for tool in chosen}
    for tool in wanted.keys() - offer.tools.keys() - offer.refused.keys():
        raise ValueError(f"MCP server {server.name} has no tool {tool!r}; it has: {', '.join(offer.tools) or 'none'}")
    found: list[tuple[Offered, str]] = []
    refused = dict(offer.refused)
    for tool in [tool for tool in wanted if tool not in offer.refused]:
        called = prefix + wanted[tool]
        try:
            if not _NAME.fullmatch(called):
                raise ValueError(
                    f"a model cannot write the name {called[:80]!r} (1 to 64 letters, digits, '_' and '-'): "
                    f"give it another with names="
                )
            server.usable(offer.tools[tool])
            found.append((offer.tools[tool], called))
        except ValueError as error:
            refused[tool] = str(error)
    lines = {tool: f"MCP server {server.name}: tool {tool[:80]!r}: {why}" for tool, why in refused.items()}
    for tool, line in lines.items():
        if names is None:
            _log.warning("%s; it is left out", line)
        elif tool in wanted:
            raise McpServerError(f"{line}; leave it out of names=")
    if not found:
        raise McpServerError("; ".join([f"MCP server {server.name} has no tools", *list(lines.values())[:_MOST_TOLD]]))
    return found


def _tool(server: Server, offered: Offered, settings: ToolSettings) -> Tool:
    async def call(**arguments: Any) -> str:
        return text_of(await server.call(offered, arguments, settings.timeout))

    # JSON schema allows `true` for "anything", but chat templates and tags expect a mapping for each argument.
    properties = {
        argument: {} if one is True else one for argument, one in offered.schema.get("properties", {}).items()
    }
    parameters = {**offered.schema, "properties": properties}
    return Tool(**vars(settings), description=offered.description, parameters=parameters, function=call, check=plain)
