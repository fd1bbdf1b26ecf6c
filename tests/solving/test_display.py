"""What is seen of solving: a panel on a terminal, a line a trajectory elsewhere, then the answer."""

import io

import pytest
from rich.console import Console

from aepo.solving.budget import SolvingSpent
from aepo.solving.display import SolvingDisplay, plain_line
from aepo.solving.solution import Progress, Solution, decided
from aepo.solving.vote import Tally
from aepo.types import Group, Leaf, Origin, Sample, StopReason, TrajectoryTree

TALLIES = (Tally("Madrid", 4), Tally("Lima", 1))
PROGRESS = Progress(1, 1, 8, 5, TALLIES, SolvingSpent(8, 14, 1310, 20_500, 0.0, 3.25))


def solution(tallies: tuple[Tally, ...] = TALLIES, **others: object) -> Solution:
    origins = [Origin.PROBE, Origin.GLOBAL, Origin.LEFTOVER, Origin.BRANCH, Origin.BRANCH]
    leaves = [Leaf(n, 0, origin, StopReason.ANSWER, "x") for n, origin in enumerate(origins)]
    given = {"by": "vote", "place": 0, "ended_by": "trajectories", "spent": PROGRESS.spent} | others
    group = Group(Sample("Which city?"), TrajectoryTree([], leaves))
    return decided("Which city?", (group,), tallies, **given)  # type: ignore[arg-type]


def display(terminal: bool, width: int = 80) -> tuple[SolvingDisplay, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=width, legacy_windows=False, _environ={"TERM": "xterm"})
    return SolvingDisplay("Which city?", console), out


def test_away_from_a_terminal_each_trajectory_is_one_line_without_control_characters() -> None:
    shown, out = display(terminal=False)
    with shown:
        shown.watch(PROGRESS)
    shown.solved(solution())
    lines = out.getvalue().splitlines()
    assert lines[0] == "5/8 trajectories  Madrid 4, Lima 1  14 calls, 1,310 tokens" == plain_line(PROGRESS)
    assert lines[1:] == [
        "Madrid",
        "4 of 5 trajectories say so; 1 Lima",
        "8 trajectories, 14 calls, 1,310 tokens written, 20,500 read, 3.2 s",
        "1 round: 3 fresh starts, 2 branches, 3 cut; ended by the budget of trajectories",
    ]
    assert "\x1b" not in out.getvalue()


def test_the_panel_shows_question_answers_and_spending_within_its_width() -> None:
    shown, _ = display(terminal=True)
    console = Console(file=io.StringIO(), width=80, _environ={})
    console.print(shown.render())
    assert "Which city?" in console.file.getvalue()  # type: ignore[attr-defined]
    with shown:
        shown.watch(PROGRESS)
        console.print(shown.render())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "5/8 trajectories" in text and "Madrid" in text and "14 calls" in text
    assert max(map(len, text.splitlines())) <= 80


def test_ties_rewards_judges_and_silence_are_told() -> None:
    tie = str(solution((Tally("Lima", 2), Tally("Quito", 2))))
    assert "a tie with Quito: the answer that came first was taken" in tie
    assert "1 without an answer" in tie
    assert "reward 0.75" in str(solution((Tally("Lima", 1, 0.75),), by="reward"))
    assert "chosen by the judge" in str(solution(by="judge", place=1)).splitlines()[1]
    silent = str(solution(()))
    assert silent.startswith("no answer\nnone of 5 trajectories gave an answer")


def test_what_a_model_writes_cannot_steer_the_terminal() -> None:
    shown, out = display(terminal=False)
    hostile = (Tally("\x1b[2JMadrid\x07 [red]x[/red]", 1),)
    shown.watch(Progress(1, 1, 8, 1, hostile, SolvingSpent()))
    shown.solved(solution(hostile))
    assert "\x1b" not in out.getvalue() and "\x07" not in out.getvalue() and "[red]x[/red]" in out.getvalue()


@pytest.mark.parametrize("money", [0.0, 0.0125])
def test_cost_is_shown_where_there_is_one(money: float) -> None:
    text = str(solution(spent=SolvingSpent(8, 14, 10, 20, money, 1.0)))
    assert ("cost 0.0125" in text) == (money > 0)


def test_many_answers_are_cut_to_a_line() -> None:
    many = tuple(Tally(f"answer {n}", 1) for n in range(20))
    lines = str(solution(many)).splitlines()
    assert "1 answer 6 and 13 others" in lines[1] and "a tie with answer 1" in lines[2]
    assert "and 13 others" in lines[2]
