"""Where a command writes while it works: lines that stay and, on a terminal, a panel below them that changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH = 160
"""Most columns of a line that nobody reads on a terminal."""


class Screen:
    """A console with a panel, if it is a terminal.

    Args:
        panel: Gives the panel as it is at the moment.
        console: Where to write; standard output by default.
        transient: Whether the panel is gone once it has stopped.

    Attributes:
        console: Where it writes.
        live: Whether there is a panel.
        unicode: Whether more than ASCII can be written.
    """

    def __init__(
        self, panel: Callable[[], RenderableType], console: Console | None = None, transient: bool = False
    ) -> None:
        self.console = console or Console()
        self.live = self.console.is_terminal and not self.console.is_dumb_terminal
        self.unicode = self.console.encoding.lower().startswith("utf")
        self._panel, self._transient = panel, transient
        self._shown: Live | None = None

    def start(self) -> None:
        """Show the panel."""
        if self.live:
            panel, transient = self._panel, self._transient
            self._shown = Live(console=self.console, get_renderable=panel, refresh_per_second=4, transient=transient)
            self._shown.start()

    def refresh(self) -> None:
        """Draw the panel now."""
        if self._shown is not None:
            self._shown.refresh()

    def stop(self) -> None:
        """Draw the panel no more; may be called twice."""
        if self._shown is not None:
            self._shown.stop()
            self._shown = None

    def say(self, text: str, style: str = "") -> None:
        """Print a line that stays."""
        self.console.print(Text(self.printable(text), style=style), soft_wrap=True, highlight=False)

    def printable(self, text: str) -> str:
        """What the terminal can write of it, without control characters, which it would obey."""
        shown = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)
        return shown.encode(self.console.encoding, "replace").decode(self.console.encoding, "replace")


def framed(parts: Sequence[RenderableType], title: Text | None = None, width: int | None = None) -> Panel:
    """A panel of parts, one below the other."""
    return Panel(Group(*parts), title=title, title_align="left", box=box.ROUNDED, border_style="dim", width=width)


def progress(text: Text, done: int, total: int, *beside: RenderableType) -> Table:
    """A bar behind a text, and what stands to the right of it."""
    grid = Table.grid(expand=True, padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    for _ in beside:
        grid.add_column(no_wrap=True, min_width=14)
    grid.add_row(text, ProgressBar(total=max(1, total), completed=done), *beside)
    return grid
