"""However a trajectory, a question or a rollout ends: no world is left open, and the model's side knows why."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import anyio
import pytest

import aepo
from aepo.environments import EnvironmentLost
from aepo.rollout.explorer import RolloutError
from aepo.tools.base import ToolBug, ToolMisconfigured
from aepo.types import Group, Origin, StopReason, ToolStatus, TrajectoryTree
from tests.environments.worlds import BRANCHY, Maze, fresh, grow, played_alone, rollout
from tests.rollout.toy import CALL, CALLS, WORD, Place, ToyGenerator, questions
from tests.rollout.trees import count, decided


def always_calls(at: Place) -> int:
    return [WORD + int(at.draw * 40), CALL][min(at.number, 1)]


def reasons(groups: list[Group]) -> set[StopReason]:
    return {leaf.stop_reason for group in groups for leaf in group.tree.leaves}


def test_a_world_that_is_done_ends_its_trajectory() -> None:
    (group,), _ = rollout(aepo.environment(Maze), generator=ToyGenerator(always_calls))
    for trajectory in group.trajectories():
        assert trajectory.stop_reason is StopReason.DONE
        assert len(trajectory.calls) == 9
        assert trajectory.calls[-1][1].status is ToolStatus.DONE
        assert trajectory.loss_mask[-1] == 1, "the model does not read the last result"
        assert trajectory.outcome == len(set(trajectory.state["seen"])) / 7


class Shared(Maze):
    """Broken on purpose: all worlds of the process count together."""

    steps = 0

    def ask(self, what: str) -> str:
        """Go through a door.

        Args:
            what: Which.
        """
        type(self).steps += 1
        return super().ask(what) + (" dusty" if type(self).steps % 7 == 0 else "")


def test_a_branch_whose_world_differs_begins_at_the_question_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    environment = aepo.environment(type("Other", (Shared,), {}))
    groups, counts = rollout(environment, generator=ToyGenerator(always_calls), asked=questions(20))
    leaves = [leaf for group in groups for leaf in group.tree.leaves]
    assert [len(group.tree.leaves) for group in groups] == [8] * 20
    put_back = [leaf for leaf in leaves if leaf.origin is Origin.LEFTOVER]
    assert 0 < len(put_back) == counts["refused"]
    assert all((leaf.parent_path, leaf.depth) == (None, 0) for leaf in put_back)
    decisions = [decision for group in groups for decision in decided(group.tree).values()]
    assert sum(d.branches for d in decisions) == sum(count(group.tree, Origin.BRANCH) for group in groups)
    assert any(decision.stopped_by == "environment" for decision in decisions)
    told = [record.message for record in caplog.records if "begins at the question instead" in record.message]
    assert len(told) == 3 < environment.incidents.seen["refused"] == counts["refused"]
    (many,) = [record.message for record in caplog.records if "in environment Other begin" in record.message]
    assert "aepo.check_environment, or aepo doctor, says why" in many
    assert "dusty" in told[0]
    reasons = [why for group in groups for node in group.tree.nodes for why in node.refused]
    assert len(reasons) == counts["refused"] and all("before" in why for why in reasons)
    assert all(TrajectoryTree.from_json(group.tree.to_json()) == group.tree for group in groups)
    assert counts["opened"] == counts["closed"]


class Slow(Maze):
    def ask(self, what: str) -> str:
        """Go through a door, slowly after some calls.

        Args:
            what: Which.
        """
        if len(self.seen) == 3:
            time.sleep(1.0)
        return super().ask(what)


def test_a_call_that_takes_too_long_ends_its_trajectory() -> None:
    (group,), counts = rollout(aepo.environment(Slow, timeout=0.05), generator=ToyGenerator(always_calls))
    for trajectory in group.trajectories():
        assert trajectory.stop_reason is StopReason.LOST
        assert [result.status for _, result in trajectory.calls] == [ToolStatus.OK] * 2 + [ToolStatus.TIMEOUT]
        assert (trajectory.outcome, trajectory.state) == (0.0, None)
    assert counts["opened"] == counts["closed"]


class Mortal(Maze):
    """Dies now and then, as a browser does."""

    calls = 0
    every = 11

    def ask(self, what: str) -> str:
        """Go through a door.

        Args:
            what: Which.
        """
        type(self).calls += 1
        if type(self).calls % type(self).every == 0:
            raise EnvironmentLost("killed")
        return super().ask(what)


def test_a_world_that_dies_is_opened_again_and_nobody_sees_it() -> None:
    undisturbed, _ = rollout(aepo.environment(Maze, inline=True), generator=ToyGenerator(always_calls))
    mortal = type("Mortal", (Mortal,), {"calls": 0, "every": 23, "made": 0})
    groups, counts = rollout(aepo.environment(mortal, inline=True), generator=ToyGenerator(always_calls))
    assert groups == undisturbed
    assert counts["lost"] >= counts["recovered"] > 0
    assert counts["opened"] == counts["closed"] == mortal.made


def test_a_world_that_always_dies_ends_its_trajectory() -> None:
    doomed = type("Doomed", (Mortal,), {"every": 1})
    (group,), counts = rollout(aepo.environment(doomed, inline=True), generator=ToyGenerator(always_calls))
    assert reasons([group]) == {StopReason.LOST}
    assert {result.status for t in group.trajectories() for _, result in t.calls} == {ToolStatus.LOST}
    assert counts["opened"] == counts["closed"]


class Buggy(Maze):
    where = "ask"

    def reset(self, seed: int, size: int = 7) -> str:
        if self.where == "reset":
            raise KeyError("no such room")
        return super().reset(seed, size)

    def ask(self, what: str) -> str:
        """Go through a door.

        Args:
            what: Which.
        """
        if self.where == "ask" and len(self.seen) == 4:
            raise KeyError("no such room")
        return super().ask(what)

    def get_reward(self) -> float:
        if self.where == "get_reward":
            raise KeyError("no such room")
        return float("nan") if self.where == "number" else super().get_reward()

    def close(self) -> None:
        super().close()
        if self.where == "close":
            raise KeyError("no such room")


def buggy(where: str) -> type[Buggy]:
    return type("Buggy", (Buggy,), {"where": where, "made": 0, "closed": 0})


@pytest.mark.parametrize("where", ["ask", "reset", "get_reward", "number"])
def test_a_bug_stops_the_rollout_and_closes_all_worlds(where: str) -> None:
    kind = buggy(where)
    with pytest.raises(RolloutError) as caught:
        rollout(aepo.environment(kind), generator=ToyGenerator(always_calls), asked=questions(3))
    assert isinstance(caught.value.bug, ToolBug)
    assert "no such room" in str(caught.value) or "nan" in str(caught.value)
    assert caught.value.group.sample.id.startswith("q")
    assert kind.made == kind.closed > 0


def test_a_close_that_fails_is_counted_and_stops_nothing() -> None:
    kind = buggy("close")
    (group,), counts = rollout(aepo.environment(kind), generator=ToyGenerator(always_calls))
    assert len(group.tree.leaves) == 8
    assert counts["not_closed"] == counts["closed"] == kind.made


def test_the_model_may_be_told_any_exception() -> None:
    environment = aepo.environment(buggy("ask"), errors="tell")
    (group,), _ = rollout(environment, generator=ToyGenerator(always_calls))
    errors = [r for t in group.trajectories() for _, r in t.calls if r.text == "KeyError: 'no such room'"]
    assert errors
    assert {error.status for error in errors} == {ToolStatus.ERROR}


class Unseeded(Maze):
    count = 0

    def reset(self) -> str:  # type: ignore[override]
        type(self).count += 1
        return super().reset(type(self).count) + f" ({type(self).count})"


def test_a_reset_that_says_something_else_stops_the_rollout() -> None:
    with pytest.raises(ToolMisconfigured, match=r"must begin alike; take `seed` in reset"):
        rollout(aepo.environment(type("Unseeded", (Unseeded,), {})))


class Hanging(Maze):
    never = threading.Event()

    def reset(self, seed: int) -> str:  # type: ignore[override]
        self.never.wait()
        return ""


def test_a_reset_that_hangs_stops_the_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aepo.environments.Session.pauses", ())
    monkeypatch.setattr("aepo.environments.world.CLOSE_SECONDS", 0.05)
    with pytest.raises(ToolMisconfigured, match=r"Hanging of sample 'q0' cannot be opened: reset did not end within"):
        rollout(aepo.environment(Hanging, reset_timeout=0.05))
    Hanging.never.set()


class Afloat:
    """All of it async, as a client of a service is."""

    opened: list[Any]

    async def reset(self, seed: int) -> None:
        await anyio.lowlevel.checkpoint()
        self.inside = Maze()
        self.inside.reset(seed)

    async def ask(self, what: str) -> str:
        """Go through a door.

        Args:
            what: Which.
        """
        await anyio.lowlevel.checkpoint()
        return self.inside.ask(what)

    @property
    def done(self) -> bool:
        return self.inside.done

    async def get_reward(self) -> float:
        return self.inside.get_reward()

    @property
    def state(self) -> dict[str, Any]:
        return self.inside.state

    async def close(self) -> None:
        await anyio.lowlevel.checkpoint()


def test_an_async_world_is_called_on_the_event_loop() -> None:
    groups, counts = rollout(aepo.environment(Afloat), generator=ToyGenerator(always_calls), asked=questions(3))
    assert any(count(group.tree, Origin.BRANCH) for group in groups)
    assert all(given == wanted for group in groups for given, wanted in played_alone(Maze, group))
    assert counts["opened"] == counts["closed"]


@pytest.mark.parametrize("after", [0, 1, 5, 30])
def test_a_cancelled_rollout_closes_its_worlds(after: int) -> None:
    left, kinds = [after], []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with anyio.CancelScope() as scope:

            class Stopped(fresh(Maze)):  # type: ignore[misc]
                def ask(self, what: str) -> str:
                    """Go through a door.

                    Args:
                        what: Which.
                    """
                    left[0] -= 1
                    if left[0] < 0:
                        loop.call_soon_threadsafe(scope.cancel)
                    return super().ask(what)

            kinds.append(Stopped)
            await grow(aepo.environment(Stopped))
        assert scope.cancelled_caught

    anyio.run(main)
    assert kinds[0].made == kinds[0].closed > 0


def test_a_deterministic_engine_needs_worlds_for_a_whole_group() -> None:
    engine = ToyGenerator(always_calls, deterministic=True)
    with pytest.raises(ValueError, match="there is room for 7; raise max_open of the environment"):
        rollout(aepo.environment(Maze, max_open=7), generator=engine)


@pytest.mark.parametrize("places", [1, 3])
def test_no_more_worlds_are_open_than_allowed(places: int) -> None:
    most = [0]

    class Counted(fresh(Maze)):  # type: ignore[misc]
        def reset(self, seed: int) -> str:  # type: ignore[override]
            most[0] = max(most[0], type(self).made - type(self).closed)
            return super().reset(seed)

    groups, _ = rollout(aepo.environment(Counted, max_open=places), BRANCHY, ToyGenerator(always_calls), questions(4))
    assert len(groups) == 4
    assert most[0] <= places


class Short(Maze):
    def ask(self, what: str) -> str:
        """Go through a door.

        Args:
            what: Which.
        """
        said = super().ask(what)
        self.done = len(self.seen) > 3
        return said


def test_calls_of_a_turn_are_made_in_their_order_until_the_world_is_done() -> None:
    def two_calls(at: Place) -> int:
        return [WORD + int(at.draw * 40), WORD + int(at.other * 40), CALLS][min(at.number, 2)]

    groups, _ = rollout(aepo.environment(Short), generator=ToyGenerator(two_calls), asked=questions(3))
    assert all(given == wanted for group in groups for given, wanted in played_alone(Short, group))
    for trajectory in (trajectory for group in groups for trajectory in group.trajectories()):
        last = [result.status for result in trajectory.turns[-1].results]
        assert trajectory.stop_reason is StopReason.DONE
        # The third call ends the world; each turn has two calls and one between them with bad arguments.
        assert last == [ToolStatus.DONE, ToolStatus.BAD_ARGUMENTS, ToolStatus.BAD_ARGUMENTS]
        assert trajectory.turns[-1].results[-1].text.endswith("not called, because nothing more can be done")
