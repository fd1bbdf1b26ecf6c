"""Shows the findings on one screen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from aepo.doctor.finding import Finding, State

WIDEST = 110
SIGNS: dict[State, tuple[str, str, str]] = {
    "ok": ("✓", "+", "green"),
    "note": ("!", "!", "yellow"),
    "missing": ("✗", "x", "bold red"),
}
"""For each state: the sign, the sign without Unicode, and the style."""


def screen(findings: Sequence[Finding], unicode: bool = True) -> RenderableType:
    """Lay out all findings by part, each with its repair below it, and the verdict."""
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style="bold", min_width=8)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", min_width=12, max_width=22)
    table.add_column(overflow="fold", ratio=1)
    for part, members in groupby(findings, key=lambda one: one.part):
        for at, one in enumerate(members):
            rich, plain, style = SIGNS[one.state]
            text = Text(_printable(one.text), style="" if one.state == "ok" else style)
            if one.fix:
                text.append(f"\n{'→' if unicode else '->'} {_printable(one.fix)}", style="not bold default")
            sign = Text(rich if unicode else plain, style=style)
            table.add_row(part if at == 0 else "", sign, Text(_printable(one.name), style="dim"), text)
    return Group(table, Text(), verdict(findings))


def verdict(findings: Sequence[Finding]) -> Text:
    """Make the last line: all is there, or the names of what is missing."""
    missing = [one for one in findings if one.state == "missing"]
    if not missing:
        return Text("all that is needed is there", style="green")
    named = ", ".join(dict.fromkeys(f"{one.part} {one.name}" for one in missing))
    return Text(f"missing: {_printable(named)}", style="bold red")


def show(findings: Sequence[Finding], console: Console | None = None) -> None:
    """Print the findings."""
    out = console or Console()
    out.print(screen(findings, out.encoding.lower().startswith("utf")), width=min(WIDEST, out.width), highlight=False)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
