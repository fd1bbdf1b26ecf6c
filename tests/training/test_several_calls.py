"""Turns with several calls, from the real engine to the gradient: one observation each, and every call counts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
import torch
from torch import Tensor

from aepo import api, config
from aepo.algorithms import AEPO
from aepo.assembly.parts import build
from aepo.config import TrainConfig
from aepo.rewards.score import score
from aepo.rollout.chat import ParsedTurn, TagProtocol
from aepo.rollout.explorer import Seeds, executed_calls, explore
from aepo.training.batch import flat_batch
from aepo.training.metrics import exploration_update, rollout_metrics
from aepo.training.step import Learner, update
from aepo.types import Group, Kind, Origin, ToolCall
from tests import tiny

MOST = 5
"""Calls of a trajectory."""


class Letters(TagProtocol):
    """A search for several letters is a call for each of them."""

    def parse(self, tokens: Sequence[int]) -> ParsedTurn:
        parsed = super().parse(tokens)
        queries = [letter for call in parsed.calls for letter in call.arguments.get("query", "")]
        return ParsedTurn(
            tuple(ToolCall("search", {"query": q}) for q in queries) or parsed.calls, parsed.answer, parsed.error
        )


@pytest.fixture(scope="module")
def groups(model_folder: Path) -> list[Group]:
    task = tiny.letters(6)
    given = tiny.settings(Path("unused"), model_folder, f"rollout.max_tool_calls={MOST}", "rollout.max_tokens=60")
    settings = config.load(None, given)
    _, parts = build(settings, task)
    parts.agent.protocol = Letters(tiny.tokenizer(), task.tools, "")
    rules = settings.algorithm.exploration()

    async def sample() -> list[Group]:
        found = await explore(task.samples, parts.agent, rules, rules.initial_state(parts.vocab_size), Seeds(0, 1))
        await score(found, tiny.early)
        return found

    return anyio.run(sample)


def test_a_turn_has_one_observation_and_each_of_its_calls_counts(groups: list[Group]) -> None:
    leaves = [leaf for group in groups for leaf in group.tree.leaves]
    assert {Origin.PROBE, Origin.BRANCH} <= {leaf.origin for leaf in leaves}
    sizes = [len(node.results) for group in groups for node in group.tree.nodes if node.kind is Kind.OBSERVATION]
    assert 1 in sizes and max(sizes) >= 3
    trajectories = [trajectory for group in groups for trajectory in group.trajectories()]
    assert MOST - 1 <= max(len(trajectory.calls) for trajectory in trajectories) <= MOST
    for group in groups:
        for leaf in group.tree.leaves:
            seen = [node for node in group.tree.walk(leaf.node) if node.kind is Kind.OBSERVATION]
            assert leaf.depth == sum(node.path != leaf.path for node in seen)
            for node in seen:
                calls = group.tree.nodes[node.parent or 0].calls
                for call, result in zip(calls, node.results, strict=True):
                    assert result.executed is (call.error is None)
                    assert not result.executed or result.text == call.arguments["query"]


def test_the_metrics_count_calls_and_the_running_mean_counts_observations(groups: list[Group]) -> None:
    walks = [group.tree.walk(leaf.node) for group in groups for leaf in group.tree.leaves]
    observations = sum(node.kind is Kind.OBSERVATION and node.tokens != [] for walk in walks for node in walk) / len(
        walks
    )
    calls = sum(result.executed for walk in walks for node in walk for result in node.results) / len(walks)
    state = AEPO(group_size=6).exploration().initial_state(64)
    assert exploration_update(groups, state).mean_observations == pytest.approx(observations)
    metrics = rollout_metrics(groups)
    assert metrics["tool/calls_per_trajectory"] == pytest.approx(calls) and calls > observations
    distinct = sum(len(node.results) for group in groups for node in group.tree.nodes)
    assert metrics["tool/search/calls"] == distinct
    assert metrics["tool/executed_calls"] == sum(executed_calls(group.tree) for group in groups) <= distinct


def test_a_step_on_their_tree_is_that_on_whole_trajectories(groups: list[Group], model_folder: Path) -> None:
    found: dict[str, Tensor] = {}
    for layout in ("tree", "flat"):
        policy = api.load_policy(str(model_folder))
        optimizer = torch.optim.SGD(policy.parameters(), lr=0.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1.0)
        settings = TrainConfig(minibatches=1, max_grad_norm=1e9, micro_batch_tokens=10**6, layout=layout)
        metrics = update(
            Learner(policy, optimizer, schedule, AEPO(), settings), flat_batch(groups, AEPO(), 0, 60), random.Random(0)
        )
        assert metrics["logprobs/rollout_difference_max"] < 1e-4, "the policy is the one that sampled"
        found[layout] = torch.cat([p.grad.flatten() for p in policy.parameters()])
    assert float(found["flat"].abs().max()) > 0
    assert (found["tree"] - found["flat"]).abs().max() <= 1e-5 * max(1.0, float(found["flat"].abs().max()))
