"""Docstrings as Markdown: what means something else there is escaped, code is left alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

_CODE = re.compile(r"(`[^`]*`)")
# The address of a server of the reader's own is no link.
_ADDRESS = re.compile(r"http://[^\s`\"),]+")


def prose(text: str) -> str:
    """Text of a docstring; `<` and `*` are themselves, an indented formula stays one."""
    lines = [one if one.startswith("    ") else _escaped(one) for one in text.splitlines()]
    return "\n".join(lines)


def one_line(text: str) -> str:
    """The same for a place that takes one line."""
    return _escaped(" ".join(text.split()))


def cell(text: str) -> str:
    """The same for a table."""
    return one_line(text).replace("|", r"\|")


def item(name: str, text: str, value: str | None) -> str:
    """An item of a list: name, type with default, meaning."""
    head = " ".join(part for part in (name, value) if part)
    return f"- {head}: {one_line(text)}" if head else f"- {one_line(text)}"


def code(text: str) -> Iterator[str]:
    """A block of Python."""
    yield "```python"
    yield from text.splitlines()
    yield "```"


def _escaped(line: str) -> str:
    parts = _CODE.split(line)
    return "".join(part if part.startswith("`") else _plain(part) for part in parts)


def _plain(text: str) -> str:
    # The site's Markdown knows no backslash before "<".
    return _ADDRESS.sub(r"`\g<0>`", re.sub(r"([*\[\]])", r"\\\1", text).replace("<", "&lt;"))
