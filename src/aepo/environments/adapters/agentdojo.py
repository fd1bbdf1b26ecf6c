"""The tasks of AgentDojo (package `agentdojo`, MIT, with its data): a workspace, a bank, a travel agency, a Slack."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any

from pydantic_core import to_jsonable_python

from aepo.environments.adapters.made import method, package
from aepo.types import ToolError

# Mails and files would show the clock, and no branch could be compared.
_HELD = SimpleNamespace(datetime=SimpleNamespace(now=lambda: datetime(2024, 5, 15, 12)))


def agentdojo(suite: str) -> type:
    """A class for `aepo.environment`; `suite` is "workspace", "banking", "travel" or "slack"."""
    for client in ("email_client", "cloud_drive_client"):
        package(f"agentdojo.default_suites.v1.tools.{client}").datetime = _HELD
    found = package("agentdojo.task_suite.load_suites").get_suite("v1.2.2", suite)
    tools = {tool.name: method(tool.name, tool.description, tool.parameters.model_fields) for tool in found.tools}
    return type("AgentDojo", (AgentDojo,), {**tools, "_suite": found})


class AgentDojo:
    """The state of a task. The reward is AgentDojo's own, which compares it with the first one or reads the answer."""

    def reset(self, task: str) -> None:
        """Load the suite's data for a task."""
        self._task, self._answer, self._calls, self.done = self._suite.get_user_task_by_id(task), "", [], False
        self._env = self._task.init_environment(self._suite.load_and_inject_default_environment({}))
        self._before = self._env.model_copy(deep=True)

    def answer(self, text: str) -> str:
        """Give the final answer to the user; nothing can be done after it.

        Args:
            text: The answer.
        """
        self._answer, self.done = text, True
        return "done"

    def get_reward(self) -> float:
        """1 if AgentDojo takes the task as done, else 0."""
        given = self._answer, self._before, self._env
        by_calls = self._task.utility_from_traces(*given, self._calls)
        return float(self._task.utility(*given) if by_calls is None else by_calls)

    def _call(self, name: str, /, **values: Any) -> Any:
        runtime = package("agentdojo.functions_runtime")
        self._calls.append(runtime.FunctionCall(function=name, args=values))
        result, error = runtime.FunctionsRuntime(self._suite.tools).run_function(self._env, name, values)
        if error is not None:
            raise ToolError(error)
        return to_jsonable_python(result)
