"""A rollout of the tiny model and the policy that made it."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from aepo import api, config
from aepo.assembly.parts import build
from aepo.engines.local.policy import LocalPolicy
from aepo.rewards.score import score
from aepo.rollout.explorer import Seeds, executed_calls, explore
from aepo.types import Group, Origin
from tests import tiny


@pytest.fixture(scope="module")
def rollout(model_folder: Path) -> list[Group]:
    """Scored groups of the tiny model, with tool calls and branches."""
    task = tiny.letters(4)
    settings = config.load(None, tiny.settings(Path("unused"), model_folder))
    _, parts = build(settings, task)
    rules = settings.algorithm.exploration()

    async def sample() -> list[Group]:
        groups = await explore(task.samples, parts.agent, rules, rules.initial_state(parts.vocab_size), Seeds(0, 1))
        await score(groups, tiny.early)
        return groups

    groups = anyio.run(sample)
    assert sum(executed_calls(group.tree) for group in groups) >= 5
    assert any(leaf.origin is Origin.BRANCH for group in groups for leaf in group.tree.leaves)
    assert sum(len(set(group.rewards)) > 1 for group in groups) >= 3
    return groups


@pytest.fixture
def policy(model_folder: Path) -> LocalPolicy:
    return api.load_policy(str(model_folder))


@pytest.fixture(params=["tree", "flat"])
def layout(request: pytest.FixtureRequest) -> str:
    return request.param
