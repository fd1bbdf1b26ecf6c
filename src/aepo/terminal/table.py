"""Tables of text: on a terminal, and as Markdown in a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

Lines = list[list[str]]
"""A table: its head, and its rows. The first column is names, the others are figures."""

# Columns of a file or a pipe: no cell is wrapped there.
_UNLIMITED = 1000


class Best(str):
    """A cell that is shown in bold: nothing in its column is better."""


def markdown(title: str, tables: Sequence[Lines], notes: Sequence[str]) -> str:
    """A Markdown file: a heading, tables, and what a reader must know to read them."""
    parts = [f"# {title}"]
    for head, *rows in tables:
        rule = ["---", *["---:"] * (len(head) - 1)]
        marked = [[f"**{cell}**" if isinstance(cell, Best) else cell for cell in row] for row in rows]
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *marked)))
    parts.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(parts) + "\n"


def show(tables: Sequence[Lines], notes: Sequence[str], console: Console | None = None) -> None:
    """The same on a terminal, without the heading.

    Args:
        tables: As of `markdown`.
        notes: As of `markdown`.
        console: Where to write; standard output by default.
    """
    out = console or Console(highlight=False, width=None if sys.stdout.isatty() else _UNLIMITED)
    for head, *rows in tables:
        table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
        for number, (name, width) in enumerate(zip(head, _widths(head, rows, out.width), strict=True)):
            table.add_column(Text(name), justify="right" if number else "left", overflow="fold", width=width)
        for row in rows:
            table.add_row(*(Text(cell, style="bold" if isinstance(cell, Best) else "") for cell in row))
        out.print(table, "")
    for note in notes:
        out.print(Text(note), soft_wrap=True)


def _widths(head: Sequence[str], rows: Sequence[Sequence[str]], most: int) -> list[int | None]:
    """Widths of the columns that break no figure; heads get what is left. None for all where that is impossible."""
    widths = [max(map(cell_len, (*name.split(), *cells))) for name, *cells in zip(head, *rows, strict=True)]
    left = most - sum(widths) - 2 * (len(widths) - 1)
    if left < 0:
        return [None] * len(widths)
    given: list[int | None] = []
    for name, width in zip(head, widths, strict=True):
        more = min(left, max(0, cell_len(name) - width))
        given.append(width + more)
        left -= more
    return given
