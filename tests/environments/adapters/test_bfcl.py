"""BFCL's own solutions earn the reward, and what they read is the same each time."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

import pytest

import aepo
from aepo.environments.adapters.bfcl import bfcl
from aepo.environments.adapters.samples import bfcl_samples
from aepo.types import ToolError
from tests.environments.adapters.solved import Call, played

pytest.importorskip("bfcl_eval", reason="pip install --no-deps bfcl-eval")


def solution(world: Any) -> Iterator[Call]:
    for turn in world._path:
        for step in turn:
            call: Any = ast.parse(step, mode="eval").body
            named = {each.arg: ast.literal_eval(each.value) for each in call.keywords}
            yield call.func.id, list(map(ast.literal_eval, call.args)), named
        yield "next_request", [], {}


@pytest.mark.parametrize("variant", ["base", "miss_param"])
def test_every_task_is_solved_by_its_solution_and_few_by_doing_nothing(variant: str) -> None:
    kind, samples = bfcl(), bfcl_samples(variant=variant)
    first, again = ([played(kind, sample, solution) for sample in samples] for _ in range(2))
    assert first == again and len(samples) == 200
    assert all(reward == 1.0 for _, reward in first)
    idle = [
        played(kind, sample, lambda world: [("next_request", [], {}) for _ in world._path])[1] for sample in samples
    ]
    # Their solutions only read.
    assert sum(idle) <= 10


def test_a_wrong_step_is_not_forgiven_and_a_missing_service_is_told() -> None:
    services = ("GorillaFileSystem", "TwitterAPI")
    kind, samples = bfcl(services), bfcl_samples(services)
    sample = next(s for s in samples if s.metadata["involved_classes"] == ["GorillaFileSystem"])

    def spoiled(world: Any) -> Iterator[Call]:
        yield "touch", [], {"file_name": "spoilt.txt"}
        yield from solution(world)

    assert played(kind, sample, solution)[1] == 1.0 and played(kind, sample, spoiled)[1] == 0.0
    world = kind()
    world.reset(**sample.metadata)
    with pytest.raises(ToolError, match="post_tweet is not there for this request"):
        world.post_tweet(content="a")


def test_it_is_an_environment() -> None:
    services = ("GorillaFileSystem", "TwitterAPI")
    environment = aepo.environment(bfcl(services), inline=True)
    assert {"cd", "post_tweet", "next_request"} < {tool.name for tool in environment.tools}
    assert aepo.check_environment(environment, bfcl_samples(services)[:4], calls=15) == []
