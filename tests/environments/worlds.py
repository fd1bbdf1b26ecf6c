"""Little worlds whose tool is the one that the toy policy calls, and a rollout in them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import anyio

import aepo
from aepo.core.exploration import Exploration
from aepo.environments import Environment
from aepo.environments.contract import seed_of
from aepo.rollout.agent import Agent
from aepo.rollout.explorer import explore
from aepo.rollout.growing import Scorer
from aepo.rollout.together import OnToolBug
from aepo.tools.counts import counting, taken
from aepo.types import Group, Sample, StopReason, ToolStatus
from tests.rollout.toy import GENEROUS, SEEDS, VOCABULARY, ToyGenerator, ToyProtocol, questions
from tests.rules import altered, branching

EAGER = branching(8, tau=-1.0, pacing="none", entropy_window=2, entropy_scale="nats", min_global=0.0)
"""Every branch that the rule could refuse is allowed."""
BRANCHY = altered(EAGER, dynamic_budget=False, initial_fraction=0.25)


class Maze:
    """Rooms with doors, by seed: every call moves, and what it says depends on the whole way so far."""

    made = 0
    closed = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.done = False

    def reset(self, seed: int, size: int = 7) -> str:
        self.draw, self.size, self.at, self.seen = random.Random(seed), size, 0, [0]
        self.doors = [[self.draw.randrange(size) for _ in range(3)] for _ in range(size)]
        return f"room 0 of {size}"

    def ask(self, what: str) -> str:
        """Go through a door.

        Args:
            what: Which.
        """
        self.at = self.doors[self.at][sum(map(ord, what)) % 3]
        self.seen.append(self.at)
        if self.at == self.size - 1 and len(self.seen) % 5 == 0:
            raise aepo.ToolError(f"you fell after {self.seen}")
        self.done = len(self.seen) > 9
        return f"{self.at} {self.draw.randrange(100)} after {len(self.seen)}"

    def get_reward(self) -> float:
        return len(set(self.seen)) / self.size

    @property
    def state(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def close(self) -> None:
        type(self).closed += 1


class Copied(Maze):
    """The same with snapshots."""

    def snapshot(self) -> dict[str, Any]:
        return {**vars(self), "seen": list(self.seen), "draw": self.draw.getstate()}

    def restore(self, snapshot: dict[str, Any]) -> None:
        vars(self).update(snapshot, seen=list(snapshot["seen"]), draw=random.Random())
        self.draw.setstate(snapshot["draw"])


def fresh(kind: type[Maze]) -> type[Maze]:
    """A class with counts of its own."""
    return type(kind.__name__, (kind,), {"made": 0, "closed": 0})


async def grow(
    environment: Environment,
    rules: Exploration = BRANCHY,
    generator: ToyGenerator | None = None,
    asked: Sequence[Sample] | None = None,
    on_tool_bug: OnToolBug = "stop",
    scorer: Scorer | None = None,
    keep_states: bool = False,
) -> list[Group]:
    """Grow groups in an environment."""
    agent = Agent(
        generator or ToyGenerator(),
        ToyProtocol(),
        {tool.name: tool for tool in environment.tools},
        GENEROUS,
        rules.entropy_window,
        rules.entropy_scale,
        on_tool_bug,
        environment=environment,
        keep_states=keep_states,
    )
    samples = questions() if asked is None else asked
    return await explore(samples, agent, rules, rules.initial_state(VOCABULARY), SEEDS, scorer)


def rollout(environment: Environment, *given: Any, **named: Any) -> tuple[list[Group], dict[str, float]]:
    """The groups of `grow`, and the metrics `environment/...`."""
    with counting() as counts:
        groups = anyio.run(partial(grow, environment, *given, **named))
        found = taken(counts)
    return groups, {name.removeprefix("environment/"): value for name, value in found.items()}


def played_alone(kind: Callable[[], Any], group: Group) -> Iterable[tuple[Any, Any]]:
    """What the trajectories of a group show, beside what a world shows in which one makes the same calls alone.

    A trajectory whose world was lost for good is compared up to there.
    """
    for trajectory in group.trajectories():
        world = kind()
        world.reset(seed_of(group.sample))
        for call, result in trajectory.calls:
            if not result.executed or result.status is ToolStatus.LOST:
                continue
            try:
                text = world.ask(**call.arguments)
            except aepo.ToolError as error:
                text = str(error)
            yield result.text, text
        lost = trajectory.stop_reason is StopReason.LOST
        yield trajectory.outcome, 0.0 if lost else world.get_reward()
        yield trajectory.state, None if lost else world.state
