"""What a person sees while a question is solved: a live panel on a terminal, a line a trajectory anywhere else."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aepo.solving.solution import LONGEST, SHOWN, Progress, Solution, lines, listed, short, spending
from aepo.solving.vote import Tally

WIDEST = 100


class SolvingDisplay:
    """Shows progress and then the solution; to be entered while it is solved.

    Args:
        question: What is asked.
        console: Where to write; standard output by default. A panel needs a terminal.
    """

    def __init__(self, question: str, console: Console | None = None) -> None:
        self.console = console or Console()
        self._question = question
        self._progress: Progress | None = None
        self._unicode = self.console.encoding.lower().startswith("utf")
        self._live: Live | None = None
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            self._live = Live(console=self.console, get_renderable=self.render, refresh_per_second=8, transient=True)

    def __enter__(self) -> SolvingDisplay:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def watch(self, progress: Progress) -> None:
        """Take note of a trajectory that has ended."""
        self._progress = progress
        if self._live is None:
            self._print(plain_line(progress))

    def render(self) -> RenderableType:
        """The panel as it is now."""
        width = min(WIDEST, self.console.width)
        parts: list[RenderableType] = [Text(self._printable(self._question), style="bold"), Text()]
        progress = self._progress
        if progress is None:
            parts.append(Text("the first trajectories grow ...", style="dim"))
        else:
            bar = Table.grid(expand=True, padding=(0, 2))
            bar.add_column(no_wrap=True)
            bar.add_column(ratio=1)
            bar.add_row(_count(progress), ProgressBar(total=progress.wanted, completed=progress.ended))
            parts += [bar, Text(), self._answers(progress.tallies), Text(), Text(spending(progress.spent), style="dim")]
        return Panel(Group(*parts), box=box.ROUNDED, border_style="dim", width=width)

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._print(text, "" if self._live is None else "dim")

    def solved(self, solution: Solution) -> None:
        """Print the solution, for good."""
        style = "bold green" if solution.answer is not None else "bold red"
        self.console.print(Text(self._printable(solution.answer or "no answer"), style=style), soft_wrap=True)
        for line in lines(solution):
            self.say(line)

    def _answers(self, tallies: tuple[Tally, ...]) -> RenderableType:
        table = Table.grid(expand=True, padding=(0, 2))
        table.add_column(no_wrap=True, overflow="ellipsis" if self._unicode else "crop", max_width=LONGEST)
        table.add_column(ratio=1)
        table.add_column(justify="right", no_wrap=True)
        for at, one in enumerate(tallies[:SHOWN]):
            style = "cyan" if at else "green"
            bar = ProgressBar(total=tallies[0].votes, completed=one.votes, complete_style=style)
            table.add_row(Text(self._printable(short(one.answer))), bar, str(one.votes))
        more = f"and {len(tallies) - SHOWN} other answers" if len(tallies) > SHOWN else ""
        if said := more if tallies else "no answer yet":
            table.add_row(Text(said, style="dim"), "", "")
        return table

    def _print(self, text: str, style: str = "") -> None:
        self.console.print(Text(self._printable(text), style=style), soft_wrap=True, highlight=False)

    def _printable(self, text: str) -> str:
        """What the terminal can show of it, without control characters that it would obey."""
        shown = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)
        return shown.encode(self.console.encoding, "replace").decode(self.console.encoding, "replace")


def plain_line(progress: Progress) -> str:
    """Like "3/8 trajectories  Madrid 2, Lima 1  14 calls, 310 tokens"."""
    answers = listed([f"{short(one.answer)} {one.votes}" for one in progress.tallies]) or "no answer yet"
    spent = progress.spent
    return f"{_count(progress)}  {answers}  {spent.calls} calls, {spent.tokens:,} tokens"


def _count(progress: Progress) -> str:
    of = f"round {progress.round}, " if progress.rounds > 1 else ""
    return f"{of}{progress.ended}/{progress.wanted} trajectories"
