"""AgentDojo's own solutions earn the reward, and what they read is the same each time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import aepo
from aepo.environments.adapters.agentdojo import agentdojo
from aepo.environments.adapters.samples import agentdojo_samples
from tests.environments.adapters.solved import Call, played

pytest.importorskip("agentdojo", reason="pip install agentdojo")


def solution(world: Any) -> Iterator[Call]:
    for call in world._task.ground_truth(world._before):
        yield call.function, [], call.args
    yield "answer", [], {"text": world._task.GROUND_TRUTH_OUTPUT}


@pytest.mark.parametrize(("suite", "count"), [("workspace", 40), ("banking", 16), ("travel", 20), ("slack", 21)])
def test_every_task_is_solved_by_its_solution(suite: str, count: int) -> None:
    kind, samples = agentdojo(suite), agentdojo_samples(suite)
    first, again = ([played(kind, sample, solution) for sample in samples] for _ in range(2))
    assert first == again and len(samples) == count
    assert all(reward == 1.0 for _, reward in first)


def test_it_is_an_environment() -> None:
    environment = aepo.environment(agentdojo("banking"))
    assert aepo.check_environment(environment, agentdojo_samples("banking")[:2], calls=15) == []
