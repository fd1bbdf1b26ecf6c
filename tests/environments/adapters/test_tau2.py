"""The own solutions of tau2's telecom tasks earn the reward, and doing nothing does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import aepo
from aepo.environments.adapters.made import INSTALL
from aepo.environments.adapters.samples import telecom_policy, telecom_samples
from aepo.environments.adapters.tau2 import telecom
from tests.environments.adapters.solved import Call, played

pytest.importorskip("tau2.domains", reason=f"pip install {INSTALL['tau2']}")


def solution(world: Any) -> Iterator[Call]:
    for action in world._task.evaluation_criteria.actions or []:
        yield action.name, [], action.arguments


def test_every_task_is_solved_by_its_solution_and_none_by_doing_nothing() -> None:
    kind, samples = telecom(), telecom_samples()
    first = [played(kind, sample, solution) for sample in samples]
    assert len(samples) == 114 and all(reward == 1.0 for _, reward in first)
    assert [played(kind, sample, solution) for sample in samples[:20]] == first[:20]
    assert sum(played(kind, sample, lambda world: [])[1] for sample in samples) == 0.0


def test_it_is_an_environment() -> None:
    environment = aepo.environment(telecom())
    assert len(environment.tools) == 43 and len(telecom_policy()) > 10_000
    assert aepo.check_environment(environment, telecom_samples()[:2], calls=10) == []
