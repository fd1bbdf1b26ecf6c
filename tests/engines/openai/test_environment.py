"""A policy behind a server acts in worlds of this process: in an evaluation, and in groups that branch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import anyio
import pytest

import aepo
from aepo.config import load
from aepo.engines.openai.policy import ServerPolicy
from aepo.environments.contract import seed_of
from aepo.equipment.agents import agents
from aepo.rollout.explorer import Seeds, explore
from aepo.tools.counts import counting, taken
from aepo.types import Group, Origin, StopReason
from tests import tiny
from tests.engines.openai.conftest import Serve
from tests.engines.openai.server import ModelServer
from tests.engines.openai.test_policy import settings
from tests.environments.test_runs import Letters

Link = Callable[[ModelServer], ServerPolicy]


def letters() -> aepo.Task:
    return aepo.Task("letters", tiny.samples(6), system="", environment=aepo.environment(Letters, max_open=4))


def check(groups: Iterable[Group]) -> set[StopReason]:
    """Every trajectory is that of a world played alone; returns how they ended."""
    ends = set()
    for group in groups:
        for one in group.trajectories():
            world = Letters()
            world.reset(group.sample.question, seed_of(group.sample))
            made = [(call, result) for call, result in one.calls if result.executed]
            assert [result.text for _, result in made] == [world.search(**call.arguments) for call, _ in made]
            assert (one.outcome, one.state) == (world.get_reward(), world.state)
            ends.add(one.stop_reason)
    return ends


@pytest.mark.parametrize("kind", ["vllm", "sglang", "llamacpp"])
def test_an_evaluation_is_of_what_worlds_say(kind: str, serve: Serve, model_folder: Path) -> None:
    server = serve(kind)
    config = load(None, settings(server.url, model_folder))
    found = aepo.evaluate(server.url, letters(), samples=4, config=config)
    assert StopReason.DONE in check([*found.sampled, *found.greedy])
    for group in found.sampled:
        assert group.rewards == [leaf.outcome for leaf in group.tree.leaves]


def test_branches_begin_in_worlds_of_their_own(serve: Serve, link: Link, model_folder: Path) -> None:
    server = serve()
    task = letters()
    config = load(None, settings(server.url, model_folder, "algorithm.tau=0"))
    policy = link(server)
    sampler, _ = agents(policy, task, config, task.samples)
    rules = config.algorithm.exploration()

    async def grow() -> list[Group]:
        return await explore(task.samples, sampler, rules, rules.initial_state(len(policy.tokenizer)), Seeds(0, 1))

    with counting() as counts:
        groups = anyio.run(grow)
        counted = taken(counts)
    check(groups)
    origins = [leaf.origin for group in groups for leaf in group.tree.leaves]
    assert Origin.BRANCH in origins and counted["environment/replayed_calls"] > 0
    assert counted["environment/opened"] == counted["environment/closed"] >= len(origins)
    assert "environment/refused" not in counted
