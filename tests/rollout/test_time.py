"""A limit on seconds: tools are stopped, turns end at a part, and what was sampled is kept."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import anyio
import pytest

from aepo.process import user_code
from aepo.rollout.agent import Agent
from aepo.rollout.explorer import executed_calls, explore
from aepo.rollout.parts import PART
from aepo.rollout.path import Limits, Path
from aepo.tools.base import Tool, tool
from aepo.types import Group, Kind, Node, Origin, StopReason, ToolStatus, TrajectoryTree
from tests.rollout.test_restarts import LATE, RETRY, constant
from tests.rollout.toy import (
    ANSWER,
    CALL,
    CALLS,
    NEVER,
    SEEDS,
    VOCABULARY,
    WORD,
    Place,
    Policy,
    Script,
    ToyGenerator,
    ToyProtocol,
    alone,
    asking,
    questions,
    run,
)
from tests.rules import altered


@dataclass
class Clock:
    """A clock of paths that only moves when it is told to; tools are still stopped by the real one."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("aepo.rollout.path.time", made)
    return made


def grown(policy: Policy, asked: Tool, limits: Limits) -> tuple[TrajectoryTree, int]:
    """The tree of one path, and how many tokens the engine has of it."""
    generator, tree = ToyGenerator(policy), TrajectoryTree()

    async def grow() -> int:
        agent = Agent(generator, ToyProtocol(), {"ask": asked}, limits)
        async with generator:
            prompt = tree.add(None, Kind.PROMPT, ToyProtocol().prompt("why"), 0)
            sequence = generator.open(prompt.tokens, 1)
            path = Path(0, Origin.GLOBAL, sequence, prompt, len(prompt.tokens))
            await agent.grow(path, tree)
            generator.close(sequence)
        assert path.leaf is not None
        tree.leaves.append(path.leaf)
        return sequence.length

    return tree, alone(grow)


async def hang(what: str) -> str:
    await anyio.sleep_forever()
    raise AssertionError


async def stubborn(what: str) -> str:
    try:
        await anyio.sleep_forever()
    except anyio.get_cancelled_exc_class():
        await anyio.sleep_forever()
    raise AssertionError


def calls(at: Place) -> int:
    return [WORD, CALL][at.number]


def stopped(tree: TrajectoryTree) -> Node:
    """The observation that no model saw."""
    (leaf,) = tree.leaves
    last = tree.nodes[leaf.node]
    assert (leaf.stop_reason, leaf.answer, leaf.format_error) == (StopReason.TIME, None, None)
    assert (last.kind, last.tokens) == (Kind.OBSERVATION, [])
    return last


def test_a_tool_that_hangs_is_cancelled_and_its_call_counts(clock: Clock) -> None:
    tree, _ = grown(calls, asking(hang), Limits(max_seconds=0.01))
    (result,) = stopped(tree).results
    assert result.status is ToolStatus.TIMEOUT
    assert executed_calls(tree) == 1


def test_a_tool_that_ignores_the_cancellation_is_left_behind(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_code, "GRACE", 0.01)
    tree, _ = grown(calls, asking(stubborn), Limits(max_seconds=0.01))
    assert stopped(tree).results[0].status is ToolStatus.TIMEOUT


def test_a_tool_in_a_thread_is_left_behind(clock: Clock) -> None:
    released = threading.Event()

    @tool(timeout=NEVER)
    def ask(what: str) -> str:
        """Ask for something.

        Args:
            what: What to ask for.
        """
        released.wait()
        return what

    try:
        tree, _ = grown(calls, ask, Limits(max_seconds=0.01))
    finally:
        released.set()
    assert stopped(tree).results[0].status is ToolStatus.TIMEOUT


def test_all_calls_of_a_turn_are_stopped_together(clock: Clock) -> None:
    async def first_only(what: str) -> str:
        return what if what == "1" else await hang(what)

    def policy(at: Place) -> int:
        return [WORD + 1, WORD + 2, CALLS][at.number]

    tree, _ = grown(policy, asking(first_only), Limits(max_seconds=0.01))
    assert [result.status for result in stopped(tree).results] == [ToolStatus.TIMEOUT] * 3


def test_a_turn_ends_with_the_part_in_which_the_time_is_over(clock: Clock) -> None:
    def policy(at: Place) -> int:
        clock.now += 1.0
        return WORD

    tree, length = grown(policy, asking(), Limits(10_000, max_seconds=PART + 10.0))
    (leaf,) = tree.leaves
    prompt, turn = tree.nodes
    assert (leaf.stop_reason, leaf.node) == (StopReason.TIME, turn.id)
    assert len(turn.tokens) == len(turn.logprobs) == len(turn.entropies) == 2 * PART
    assert length == len(prompt.tokens) + len(turn.tokens), "the engine has the same tokens"


def test_a_turn_in_parts_is_the_same_turn(clock: Clock) -> None:
    def policy(at: Place) -> int:
        return ANSWER if at.number == 3 * PART else WORD + int(at.draw * 40)

    whole, _ = grown(policy, asking(), Limits(10_000))
    parts, _ = grown(policy, asking(), Limits(10_000, max_seconds=60.0))
    assert parts == whole and whole.leaves[0].stop_reason is StopReason.ANSWER


def test_an_answer_in_the_last_part_counts(clock: Clock) -> None:
    def policy(at: Place) -> int:
        clock.now += 1.0
        return [WORD + 3, ANSWER][at.number]

    tree, _ = grown(policy, asking(), Limits(max_seconds=1.0))
    assert (tree.leaves[0].stop_reason, tree.leaves[0].answer) == (StopReason.ANSWER, "3")


def test_a_call_after_the_time_is_not_made(clock: Clock) -> None:
    def policy(at: Place) -> int:
        clock.now += 1.0
        return calls(at)

    tree, _ = grown(policy, asking(hang), Limits(max_seconds=1.0))
    assert tree.leaves[0].stop_reason is StopReason.TIME
    assert (tree.nodes[-1].kind, executed_calls(tree)) == (Kind.POLICY, 0)


def test_a_limit_on_tokens_is_still_one(clock: Clock) -> None:
    tree, _ = grown(lambda at: WORD, asking(), Limits(5, max_seconds=60.0))
    assert (tree.leaves[0].stop_reason, len(tree.nodes[1].tokens)) == (StopReason.LENGTH, 5)


def noted(rules: Any, clock: Clock) -> dict[int, float]:
    """Seconds that each path of a group inherited; a call takes ten, and only calls take time."""
    inherited: dict[int, float] = {}

    class Noting(Agent):
        async def grow(self, path: Path, tree: TrajectoryTree, peek: Callable[..., None] | None = None) -> None:
            inherited[path.id] = path.clock.earlier
            await super().grow(path, tree, peek)

    async def slow(what: str) -> str:
        clock.now += 10.0
        return what[:3]

    generator = Script(lambda path: 2, lambda path, turn: float(turn)).generator()
    agent = Noting(generator, ToyProtocol(), {"ask": asking(slow)}, Limits(max_seconds=1000.0), 2, rules.entropy_scale)

    async def main() -> Sequence[Group]:
        state = rules.initial_state(VOCABULARY)
        return await explore(questions(), agent, rules, state, SEEDS, constant(0.0))

    alone(main)
    return inherited


def test_a_path_inherits_the_seconds_up_to_where_it_begins(clock: Clock) -> None:
    # One path makes two calls; then a branch begins after the second one, or the second one is made anew.
    assert noted(altered(LATE, group_size=2), clock) == {0: 0.0, 1: 20.0}
    clock.now = 0.0
    assert noted(replace(RETRY, group_size=2, resamples=1), clock) == {0: 0.0, 1: 10.0}


def test_a_group_is_whole_though_tools_hang(clock: Clock) -> None:
    generator = Script(lambda path: path % 2).generator()
    (group,) = run(generator, altered(LATE, group_size=4), tools=[asking(hang)], limits=Limits(max_seconds=0.05))
    reasons = [leaf.stop_reason for leaf in group.tree.leaves]
    assert len(reasons) == 4 and set(reasons) == {StopReason.ANSWER, StopReason.TIME}


def test_a_deterministic_engine_refuses_a_limit_on_seconds() -> None:
    generator = ToyGenerator(deterministic=True)
    with pytest.raises(ValueError, match="a deterministic engine refuses"):
        Agent(generator, ToyProtocol(), {}, Limits(max_seconds=1.0))
    Agent(generator, ToyProtocol(), {}, Limits())


def test_some_time_must_be_allowed() -> None:
    with pytest.raises(ValueError, match="needs some time"):
        Limits(max_seconds=0.0)
