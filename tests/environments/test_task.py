"""`aepo.environment` and `aepo.Task`: what a class must have, which tools a question sees, and clear errors."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

import aepo
from aepo.config import Config
from aepo.environments.contract import seed_of
from aepo.equipment.tools import equip
from tests.environments.worlds import Copied, Maze
from tests.tiny import search

SAMPLES = [aepo.Sample("Find the way.", id="one"), aepo.Sample("And back.", id="two")]


class Bank:
    """An account; as a class for TRL is written."""

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit

    def reset(self, question: str, owner: str, **others: Any) -> None:
        self.owner, self.others, self.held = owner, others, 0

    def pay(self, amount: int) -> str:
        """Pay money in.

        Args:
            amount: How much.
        """
        self.held += amount
        return f"{self.owner} has {self.held}"

    def _audit(self) -> None:
        """Private."""


def test_public_methods_are_the_tools() -> None:
    made = aepo.environment(Bank, timeout=3)
    (pay,) = made.tools
    assert (pay.name, pay.description, pay.timeout) == ("pay", "Pay money in.", 3)
    assert pay.parameters["properties"] == {"amount": {"type": "integer", "description": "How much."}}
    assert (made.name, made.rewards, made.snapshots) == ("Bank", False, False)
    assert aepo.environment(Copied).snapshots
    assert aepo.environment(partial(Bank, limit=3)).kind is Bank
    assert aepo.environment(lambda: Bank(limit=3)).kind is Bank


class NoReset:
    pass


class NoTools:
    def reset(self) -> None: ...


class Undocumented(NoTools):
    def go(self, where: str) -> str:
        return where


class HalfCopied(Bank):
    def snapshot(self) -> int:
        return 1


class Afloat(Bank):
    async def reset(self) -> None: ...  # type: ignore[override]


@pytest.mark.parametrize(
    ("factory", "settings", "line"),
    [
        (NoReset, {}, r"environment NoReset: define reset\(self\), which may return a text"),
        (NoTools, {}, "environment NoTools: no public method that could be a tool"),
        (Undocumented, {}, "tool go: no docstring; write one line"),
        (HalfCopied, {}, "snapshot and restore belong together"),
        (Bank, {"max_open": 0}, "environment Bank: max_open is 0, must be positive"),
        (Bank, {"timeout": 0}, "timeout is 0, must be positive"),
        (Bank, {"read_only": ["look"]}, "read_only names 'look', which is no method of it"),
        (Afloat, {"own_random": True}, "own_random needs methods that are not async"),
    ],
)
def test_a_class_that_cannot_be_an_environment_is_refused(factory: Any, settings: Any, line: str) -> None:
    with pytest.raises((TypeError, ValueError), match=line):
        aepo.environment(factory, **settings)


def test_reset_takes_what_it_names() -> None:
    sample = aepo.Sample("Save.", "money", id="s", metadata={"owner": "Ada", "seed": 4})
    assert aepo.environment(Maze).arguments(sample) == {"seed": 4}
    assert aepo.environment(Maze).arguments(replace(sample, metadata={})) == {"seed": seed_of(sample)}
    assert aepo.environment(Bank).arguments(sample) == {
        "question": "Save.",
        "target": "money",
        "id": "s",
        "owner": "Ada",
        "seed": 4,
    }


def test_a_task_takes_tools_and_reward_from_its_environment() -> None:
    task = aepo.Task("mazes", SAMPLES, environment=aepo.environment(Maze))
    assert [tool.name for tool in task.tools] == ["ask"]
    assert task.reward is aepo.rewards.outcome
    assert replace(task, system="").tools == task.tools
    beside = aepo.Task("mazes", SAMPLES, [search], environment=aepo.environment(Maze))
    assert [tool.name for tool in beside.tools_of("Maze")] == ["search", "ask"]


def test_a_question_sees_the_tools_of_its_own_environment() -> None:
    samples = [
        aepo.Sample("Find the way.", metadata={"environment": "maze"}),
        aepo.Sample("Save.", metadata={"environment": "bank", "owner": "Ada"}),
    ]
    both = {"maze": aepo.environment(Maze), "bank": aepo.environment(Bank)}
    task = aepo.Task("both", samples, environment=both)
    assert [tool.name for tool in task.tools] == ["ask", "pay"]
    assert [tool.name for tool in task.tools_of("bank")] == ["pay"]
    assert task.reward is None, "one of them has no get_reward"
    ready = equip(Config(), task.tools).of(task)
    assert [tool.name for tool in ready.environments["maze"].tools] == ["ask"]


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        (Maze, r"the environment is no aepo.environment\(...\), but <class"),
        ({"maze": aepo.environment(Maze), "bank": aepo.environment(Bank)}, "sample 'one' names no environment"),
        (aepo.environment(Bank), "reset of environment Bank takes 'owner', which sample 'one' does not have"),
    ],
)
def test_questions_that_do_not_fit_are_refused(environment: Any, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        aepo.Task("mazes", SAMPLES, environment=environment)


def test_two_tools_of_one_name_are_refused() -> None:
    @aepo.tool
    def ask(what: str) -> str:
        """Ask.

        Args:
            what: What.
        """
        return what

    with pytest.raises(ValueError, match="task 'mazes' has two tools 'ask': rename one of them"):
        aepo.Task("mazes", SAMPLES, [ask], environment=aepo.environment(Maze))
