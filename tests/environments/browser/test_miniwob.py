"""MiniWoB++ pages: what is done on one can be done again, in a replay and in the branches of a rollout."""

import itertools
import random
from functools import partial

import pytest

pytest.importorskip("playwright")
pytest.importorskip("miniwob", reason="the pages of MiniWoB++ are not installed")

from aepo.core.entropy_branching import EntropyBranching
from aepo.environments.browser import shared
from aepo.environments.check import check_environment
from aepo.environments.contract import seed_of
from aepo.process import event_loop
from aepo.tasks.miniwob import EASY, MiniWob, miniwob, names
from aepo.tools.counts import counting, taken
from aepo.tools.pages import chromium
from aepo.types import Group
from benchmarks import miniwob_policy
from benchmarks.miniwob_replay import play
from benchmarks.scripted import BRANCHY, Action, Policy, grown

# Pictures that come late, timers, dialogs, SVG, lists, fields, trees; benchmarks/miniwob_replay.py plays all 130.
PLAYED = (
    "book-flight",
    "choose-date",
    "choose-list",
    "click-button-sequence",
    "click-checkboxes-large",
    "click-collapsible-2",
    "click-dialog-2",
    "click-menu",
    "click-pie",
    "click-shape",
    "click-tab-2",
    "email-inbox",
    "enter-date",
    "find-greatest",
    "login-user-popup",
    "multi-layouts",
    "search-engine",
    "stock-market",
    "tic-tac-toe",
    "use-autocomplete",
)


@pytest.mark.parametrize("task", PLAYED)
def test_the_same_actions_give_the_same_texts_in_a_new_context(task: str) -> None:
    played = event_loop.run(play, task, 6, 7)
    assert played.difference == "" and played.actions


def test_a_problem_is_solved_and_rewarded() -> None:
    async def run() -> tuple[float, bool]:
        world = MiniWob()
        seen = await world.reset("click-test", 1)
        assert "[1] button" in seen and not world.done and world.get_reward() == 0
        await world.click(1)
        await world.close()
        return world.get_reward(), world.done

    assert event_loop.run(run) == (1.0, True)


def rollout(policy: Policy = miniwob_policy.act) -> tuple[list[Group], dict[str, float]]:
    """Two groups that branch, and the counts of their worlds."""
    task = miniwob(["click-checkboxes", "login-user"], problems=1, held_out=0)
    with counting() as counts:
        groups, _ = event_loop.run(partial(grown, task, policy, EntropyBranching(6, BRANCHY), 8))
        found = {name.removeprefix("environment/"): value for name, value in taken(counts).items()}
    assert found["opened"] == found["closed"]
    return groups, found


def told(groups: list[Group]) -> list[object]:
    """What happened in each trajectory."""
    return [
        (path.leaf.path, path.leaf.parent_path, [(call, result.text) for call, result in path.calls], path.outcome)
        for group in groups
        for path in sorted(group.trajectories(), key=lambda path: path.leaf.path)
    ]


def test_branches_of_a_rollout_are_the_pages_that_they_began_in() -> None:
    groups, found = rollout()
    assert found["replayed_calls"] > 0 and found.get("refused", 0) == 0
    for group in groups:
        calls, wrong = event_loop.run(miniwob_policy.wrong_calls, group)
        assert calls > 0 and wrong == 0
        assert all(leaf.state["title"] for leaf in group.tree.leaves)


def test_a_browser_that_is_killed_amid_a_rollout_changes_no_tree() -> None:
    turns = itertools.count()

    def kills(asked: str, seen: str, draw: random.Random) -> tuple[Action | None, int]:
        if next(turns) == 15:
            current = shared.shared().current
            assert current is not None
            chromium.kill(current.marker)
        return miniwob_policy.act(asked, seen, draw)

    untouched, _ = rollout()
    groups, found = rollout(kills)
    assert found["lost"] > 0 and found["recovered"] > 0
    assert told(groups) == told(untouched)


def test_the_task_names_its_problems_and_refuses_others() -> None:
    assert len(names()) == 130 and set(EASY) <= set(names())
    task = miniwob("click-button", problems=3, held_out=1)
    samples = [*task.samples, *task.held_out]
    assert len({seed_of(sample) for sample in samples}) == 4
    assert {tool.name for tool in task.tools} == {"back", "click", "goto", "scroll", "select", "type"}
    with pytest.raises(ValueError, match="no task 'click-buton'"):
        miniwob(["click-buton"])


def test_the_check_of_environments_finds_no_fault() -> None:
    task = miniwob(["click-tab-2"], problems=1, held_out=0)
    assert check_environment(task.environment, task.samples, calls=6) == []
