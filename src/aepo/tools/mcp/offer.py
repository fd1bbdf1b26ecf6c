"""Reads a server's list of tools: each entry gives a tool, or a reason why it cannot be one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


class McpServerError(RuntimeError):
    """A server does not start, dies again and again, or has changed since the tools were made from it."""


@dataclass(frozen=True)
class Offered:
    """The fields of a server's tool that are used here.

    Attributes:
        name: The server's name for it.
        description: The server's words about it; may be empty.
        schema: The JSON schema of its arguments.
        repeatable: True if a call may be made twice.
    """

    name: str
    description: str
    schema: Mapping[str, Any]
    repeatable: bool


@dataclass
class Offer:
    """A server's list of tools.

    Attributes:
        tools: The tools by name.
        refused: The reason why an entry is no tool, by the entry's name, or by its place in the list if it has none.
    """

    tools: dict[str, Offered] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    _entries: int = 0

    def add(self, entries: Iterable[Any]) -> None:
        """Add one page of the list. A bad entry does not affect the others."""
        for entry in entries:
            self._entries += 1
            place = f"entry {self._entries}"
            if not isinstance(entry, Mapping):
                self.refused[place] = "is no object"
            elif not isinstance(name := entry.get("name"), str) or not name:
                self.refused[place] = "has no name"
            elif not isinstance(schema := entry.get("inputSchema"), Mapping):
                self.refused[name] = "its inputSchema is no object"
            else:
                self._tool(Offered(name, _description(entry), schema, _repeatable(entry)))

    def _tool(self, tool: Offered) -> None:
        if self.tools.get(tool.name, tool) != tool or tool.name in self.refused:
            self.tools.pop(tool.name, None)
            self.refused[tool.name] = "two tools have this name"
        else:
            self.tools[tool.name] = tool


def _description(entry: Mapping[str, Any]) -> str:
    texts = (entry.get("description"), entry.get("title"))
    return next((text for text in texts if isinstance(text, str) and text), "")


def _repeatable(entry: Mapping[str, Any]) -> bool:
    hints = entry.get("annotations")
    return isinstance(hints, Mapping) and any(hints.get(hint) is True for hint in ("readOnlyHint", "idempotentHint"))
