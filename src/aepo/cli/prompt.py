"""Runs `aepo prompt`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from aepo import config as configuration
from aepo.config import Config
from aepo.files.paths import local

if TYPE_CHECKING:
    from aepo.runs.folder import RunFolder
    from aepo.tasks.base import Task
    from aepo.tools.base import Tool
    from aepo.types import Sample

_VALUES: dict[str, Any] = {"integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {}}


def prompt(
    what: Positional[str | None] = None, overrides: Positional[tuple[str, ...]] = (), /, question: str | None = None
) -> None:
    """Print what the model reads: a whole prompt, a turn that calls a tool, and what the tool's result becomes.

    The texts are decoded from the token ids of a rollout, with all special tokens. The turn is written by the protocol,
    not sampled, and the tool is not called. An environment is opened, because its opening stands in the prompt.

    Args:
        what: A configuration (file or name), a task ("atlas", "package.module:function"), or the folder of a run, which
            brings its newest policy with its instruction, and the system text and examples of its training.
        overrides: Settings, e.g. model.path=Qwen/Qwen3-0.6B rollout.protocol=chat.
        question: The id of a question, or a question of your own; by default the task's first one.
    """
    from aepo.engines.prompts import protocols_without_model
    from aepo.equipment.models import policy_folder
    from aepo.files.instruction import read_instruction
    from aepo.rollout.agent import asked
    from aepo.types import ToolResult

    config, task = _found(what, overrides)
    sample = _sample(task, question)
    protocols, tokenizer = protocols_without_model(config, task)
    environment = task.environment_of(sample)
    protocol, tools = protocols[environment], task.tools_of(environment)
    instruction = sample.instruction
    if instruction is None:
        instruction = read_instruction(policy_folder(config.model.path))
    ids = protocol.prompt(asked(sample, _opening(task, sample)), instruction)
    print(f"task {task.name}, model {config.model.path}, protocol {protocol.name}")
    _show(f"prompt, {len(ids)} tokens", ids, tokenizer)
    if not tools:
        print("the task has no tools")
        return
    call = scripted(tools[0])
    turn = protocol.turn(call)
    result = protocol.observation([ToolResult(f"(what {call.name} returns)")], [call], turn)
    _show(f"a turn of the model that calls {call.name}, {len(turn)} tokens", turn, tokenizer)
    _show(f"what is added for the result, {len(result)} tokens", result, tokenizer)


def _show(title: str, ids: list[int], tokenizer: Any) -> None:
    print(f"--- {title}")
    print(tokenizer.decode(ids, skip_special_tokens=False))


def scripted(tool: Tool) -> Any:
    """A call of a tool with made-up values for the arguments that it needs; for the first one if it needs none."""
    from aepo.types import ToolCall

    properties: Mapping[str, Any] = tool.parameters.get("properties", {})
    names = tool.parameters.get("required") or list(properties)[:1]
    return ToolCall(tool.name, {name: _value(name, properties[name]) for name in names})


def _value(name: str, schema: Mapping[str, Any]) -> Any:
    if schema.get("enum"):
        return schema["enum"][0]
    return _VALUES.get(str(schema.get("type", "string")), f"the {name}")


def _found(what: str | None, overrides: tuple[str, ...]) -> tuple[Config, Task]:
    """The configuration and the task that a word names."""
    from aepo import tasks
    from aepo.runs.folder import RunFolder

    if what is not None and "=" in what:
        what, overrides = None, (what, *overrides)
    if what is not None and RunFolder(local(what)).config_file is not None:
        return _of_run(RunFolder(local(what)), overrides)
    if what is not None and not configuration.located(what).is_file():
        if what.endswith((".yaml", ".yml")):
            configuration.load(what)
        what, overrides = None, (f"task.name={what}", *overrides)
    config = configuration.load(what, overrides)
    return config, tasks.load(config.task.name, config.task.options)


def _of_run(run: RunFolder, overrides: tuple[str, ...]) -> tuple[Config, Task]:
    """The configuration of a run with its newest policy, and its task with what the model was told in training."""
    from aepo.runs import checkpoint
    from aepo.runs.brought import told_by
    from aepo.runs.resumed import task_of_run

    if checkpoint.latest(run.checkpoints, checkpoint.POLICY) is not None:
        overrides = (f"model.path={json.dumps(str(run.path))}", *overrides)
    config = configuration.load(run.config_file, overrides)
    task = task_of_run(run.path, config, "aepo.Task and a protocol in Python")
    if "told" not in run.task() or config.task.name != run.config().get("task", {}).get("name"):
        return config, task
    tools = [tool for name in (*task.environments, "") for tool in task.tools_of(name)]
    return config, replace(task, **told_by(run.path, tools))


def _sample(task: Task, question: str | None) -> Sample:
    known = [*task.samples, *task.held_out]
    if question is None:
        return known[0]
    by_id = {sample.id: sample for sample in known}
    return by_id.get(question) or replace(known[0], question=question)


def _opening(task: Task, sample: Sample) -> str:
    """The text with which the world of a question begins; empty without one."""
    from aepo.process import event_loop
    from aepo.rollout.worlds import know_opening

    if not task.environments:
        return ""
    environment = task.environments[task.environment_of(sample)]
    event_loop.run(know_opening, environment, sample)
    return environment.openings[sample.id]
