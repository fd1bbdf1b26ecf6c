"""Shows how a question is solved: a live panel on a terminal, elsewhere one line per trajectory."""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aepo.solving.solution import LONGEST, SHOWN, Progress, Solution, lines, listed, spending
from aepo.solving.vote import Tally
from aepo.terminal.screen import Screen, framed, progress
from aepo.terminal.text import one_line

WIDEST = 100


class SolvingDisplay:
    """Shows progress while it is entered, and then the solution.

    Args:
        question: The question.
        console: The console to write to; standard output by default. A panel needs a terminal.
    """

    def __init__(self, question: str, console: Console | None = None) -> None:
        self._question = question
        self._progress: Progress | None = None
        self._screen = Screen(self.render, console, transient=True)

    def __enter__(self) -> SolvingDisplay:
        self._screen.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._screen.stop()

    def watch(self, progress: Progress) -> None:
        """Show the progress after a trajectory has ended."""
        self._progress = progress
        if not self._screen.live:
            self._screen.say(plain_line(progress))

    def render(self) -> RenderableType:
        """The current panel."""
        parts: list[RenderableType] = [Text(self._screen.printable(self._question), style="bold"), Text()]
        if (now := self._progress) is None:
            parts.append(Text("the first trajectories grow ...", style="dim"))
        else:
            parts += [progress(Text(_count(now)), now.ended, now.wanted), Text(), self._answers(now.tallies)]
            parts += [Text(), Text(spending(now.spent), style="dim")]
        return framed(parts, width=min(WIDEST, self._screen.console.width))

    def say(self, text: str) -> None:
        """Print a lasting line."""
        self._screen.say(text, "dim" if self._screen.live else "")

    def solved(self, solution: Solution) -> None:
        """Print the solution."""
        self._screen.say(solution.answer or "no answer", "bold red" if solution.answer is None else "bold green")
        for line in lines(solution):
            self.say(line)

    def _answers(self, tallies: tuple[Tally, ...]) -> RenderableType:
        table = Table.grid(expand=True, padding=(0, 2))
        table.add_column(no_wrap=True, overflow="ellipsis" if self._screen.unicode else "crop", max_width=LONGEST)
        table.add_column(ratio=1)
        table.add_column(justify="right", no_wrap=True)
        for at, one in enumerate(tallies[:SHOWN]):
            style = "green" if at == 0 else "cyan"
            bar = ProgressBar(total=tallies[0].votes, completed=one.votes, complete_style=style)
            table.add_row(Text(self._screen.printable(one_line(one.answer, LONGEST))), bar, str(one.votes))
        more = f"and {len(tallies) - SHOWN} other answers" if len(tallies) > SHOWN else ""
        if said := more if tallies else "no answer yet":
            table.add_row(Text(said, style="dim"), "", "")
        return table


def plain_line(progress: Progress) -> str:
    """A line such as "3/8 trajectories  Madrid 2, Lima 1  14 calls, 310 tokens"."""
    answers = listed([f"{one_line(one.answer, LONGEST)} {one.votes}" for one in progress.tallies]) or "no answer yet"
    spent = progress.spent
    return f"{_count(progress)}  {answers}  {spent.calls} calls, {spent.tokens:,} tokens"


def _count(progress: Progress) -> str:
    of = f"round {progress.round}, " if progress.rounds > 1 else ""
    return f"{of}{progress.ended}/{progress.wanted} trajectories"
