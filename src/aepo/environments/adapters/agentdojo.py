"""The tasks of AgentDojo (package `agentdojo`, MIT, with its data): a workspace, a bank, a travel agency, a Slack.

The reward is AgentDojo's own `utility`, which compares the final state with the first one. Tasks whose answer is a text
need the model's answer: it is given by the tool `answer`, which ends the task.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any

from aepo.environments.adapters.made import method, package
from aepo.types import Sample, ToolError

INSTALL = "pip install agentdojo"
VERSION = "v1.2.2"


def agentdojo(suite: str) -> type:
    """A class for `aepo.environment`; `suite` is "workspace", "banking", "travel" or "slack"."""
    tools = {tool.name: _tool(tool) for tool in _suite(suite).tools}
    return type("AgentDojo", (AgentDojo,), {**tools, "_suite": suite})


def agentdojo_samples(suite: str) -> list[Sample]:
    """The user's tasks of a suite."""
    tasks = _suite(suite).user_tasks
    return [Sample(task.PROMPT, id=f"{suite}-{name}", metadata={"task": name}) for name, task in tasks.items()]


class AgentDojo:
    """The state of one task."""

    _suite: str
    done = False

    def reset(self, task: str) -> None:
        """Load the suite's data for a task."""
        suite = _suite(self._suite)
        self._traces: list[Any] = []
        self._task, self._answer = suite.get_user_task_by_id(task), ""
        loaded = suite.load_and_inject_default_environment({})
        self._env = self._task.init_environment(loaded)
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
        given = (self._answer, self._before, self._env)
        by_calls = self._task.utility_from_traces(*given, self._traces)
        return float(self._task.utility(*given) if by_calls is None else by_calls)


class _Held(datetime):
    """The day of AgentDojo's calendars: mails and files would show the clock, and no branch could be compared."""

    @classmethod
    def now(cls, tz: Any = None) -> _Held:
        return cls(2024, 5, 15, 12, tzinfo=tz)


@cache
def _suite(name: str) -> Any:
    for client in ("email_client", "cloud_drive_client"):
        module = package(f"agentdojo.default_suites.v1.tools.{client}", INSTALL)
        module.datetime = SimpleNamespace(datetime=_Held, timedelta=timedelta)
    return package("agentdojo.task_suite.load_suites", INSTALL).get_suite(VERSION, name)


def _tool(tool: Any) -> Any:
    runtime = package("agentdojo.functions_runtime", INSTALL)

    def call(world: AgentDojo, values: dict[str, Any]) -> Any:
        world._traces.append(runtime.FunctionCall(function=tool.name, args=values))
        result, error = runtime.FunctionsRuntime([tool]).run_function(world._env, tool.name, values)
        if error is not None:
            raise ToolError(error)
        return package("pydantic_core", INSTALL).to_jsonable_python(result)

    return method(tool.name, tool.description, tool.parameters, call)
