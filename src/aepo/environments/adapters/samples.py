"""The tasks of AgentDojo, BFCL and tau2, as samples."""

from __future__ import annotations

import json
from pathlib import Path

from aepo.environments.adapters.agentdojo import agentdojo
from aepo.environments.adapters.made import package
from aepo.environments.adapters.tau2 import telecom
from aepo.types import Sample


def agentdojo_samples(suite: str) -> list[Sample]:
    """The user's tasks of a suite."""
    tasks = agentdojo(suite)._suite.user_tasks  # type: ignore[attr-defined]
    return [Sample(task.PROMPT, id=f"{suite}-{name}", metadata={"task": name}) for name, task in tasks.items()]


def bfcl_samples(services: tuple[str, ...] | None = None, variant: str = "base") -> list[Sample]:
    """The tasks of a variant, "base" or "miss_param", that need no other services."""
    data, file = Path(package("bfcl_eval").__file__).parent / "data", f"BFCL_v4_multi_turn_{variant}.json"
    texts = [(place / file).read_text() for place in (data, data / "possible_answer")]
    samples = []
    for task, solved in zip(*(map(json.loads, text.splitlines()) for text in texts), strict=True):
        if services is None or set(task["involved_classes"]) <= set(services):
            requests = [" ".join(said["content"] for said in turn) for turn in task["question"]]
            about = {key: task[key] for key in ("initial_config", "involved_classes")}
            about |= {"requests": requests, "path": solved["ground_truth"]}
            samples.append(Sample(requests[0], id=task["id"], metadata=about))
    return samples


def telecom_samples(split: str | None = "base") -> list[Sample]:
    """The tasks of a split, those with a ticket; the policy that the model must keep to is `telecom_policy`."""
    tasks = telecom()._domain.get_tasks(split)
    return [Sample(task.ticket, id=task.id, metadata={"task": task.id}) for task in tasks if task.ticket]


def telecom_policy() -> str:
    """What the provider asks of its agents, for the system prompt."""
    return str(telecom()._domain.get_environment(solo_mode=True).get_policy())
