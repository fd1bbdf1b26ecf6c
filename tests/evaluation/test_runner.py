"""What is measured is what the trajectories say, and two policies are measured on the same draws."""

from __future__ import annotations

import math
from pathlib import Path

import anyio
import pytest
import torch

from aepo import api, config
from aepo.engines.local.generator import LocalGenerator
from aepo.engines.local.policy import LocalPolicy
from aepo.equipment.agents import agents
from aepo.evaluation.intervals import estimate
from aepo.evaluation.runner import Evaluation, evaluate
from aepo.rewards.score import RewardScorer
from aepo.types import Group, Kind, Leaf, Origin, Sample, StopReason, ToolCall, ToolResult, ToolStatus, TrajectoryTree
from tests import tiny


def group(name: str, rewards: list[float], tokens: int = 3, statuses: tuple[ToolStatus, ...] = ()) -> Group:
    """One turn a trajectory; the first path calls tools before its last turn."""
    tree = TrajectoryTree()
    prompt = at = tree.add(None, Kind.PROMPT, [1, 2], 0).id
    for status in statuses:
        asked = tree.add(at, Kind.POLICY, [4], 0)
        asked.calls = (ToolCall("search"),)
        seen = tree.add(asked.id, Kind.OBSERVATION, [5, 6, 7], 0)
        seen.results, at = (ToolResult("r", status),), seen.id
    for path, reward in enumerate(rewards):
        node = tree.add(at if path == 0 else prompt, Kind.POLICY, [3] * tokens, path)
        tree.leaves.append(Leaf(path, node.id, Origin.GLOBAL, StopReason.ANSWER, reward=reward))
    return Group(Sample("?", id=name), tree)


STAGED = Evaluation(
    sampled=[
        group("all", [1.0, 1.0, 1.5, 1.0], statuses=(ToolStatus.OK, ToolStatus.BAD_ARGUMENTS, ToolStatus.ERROR)),
        group("half", [1.0, 0.99, 0.0, 1.0]),
        group("one", [0.0, 0.0, 0.0, 1.0], tokens=7),
        group("none", [0.0, -1.0, 0.5, 0.0], statuses=(ToolStatus.OK,)),
    ],
    greedy=[group("all", [1.0]), group("half", [0.5]), group("one", [1.0]), group("none", [0.0])],
)


@pytest.mark.parametrize(
    ("k", "values"),
    [(1, [1, 1 / 2, 1 / 4, 0]), (2, [1, 5 / 6, 1 / 2, 0]), (3, [1, 1, 3 / 4, 0]), (4, [1, 1, 1, 0])],
)
def test_pass_at_k_is_the_mean_over_questions_with_its_interval(k: int, values: list[float]) -> None:
    found = STAGED.passes(k)
    assert found.mean == pytest.approx(sum(values) / 4)
    assert found == estimate(values, 0.0, 1.0)
    assert found.low <= found.mean <= found.high


def test_more_attempts_than_were_made_are_refused() -> None:
    with pytest.raises(ValueError, match="Pass@5 needs at least 5 samples a question"):
        STAGED.passes(5)


def test_greedy_success_is_the_share_of_questions_solved() -> None:
    assert STAGED.greedy_success is not None and STAGED.greedy_success.mean == 0.5
    assert Evaluation(STAGED.sampled, []).greedy_success is None


def test_calls_and_tokens_are_those_of_the_policy_a_trajectory() -> None:
    # Executed: 2 of 3 calls of "all", 1 of "none". Written: a token a call, then 3 or 7 a trajectory.
    assert STAGED.calls.mean == pytest.approx((2 / 4 + 0 + 0 + 1 / 4) / 4)
    assert STAGED.tokens.mean == pytest.approx(((3 + 12) + 12 + 28 + (1 + 12)) / 4 / 4)


def test_the_metrics_of_a_run() -> None:
    metrics = STAGED.metrics()
    assert metrics.keys() == {
        "eval/success",
        "eval/success_low",
        "eval/success_high",
        "eval/pass@4",
        "eval/calls",
        "eval/tokens",
        "eval/greedy",
    }
    assert metrics["eval/success"] == pytest.approx(1.75 / 4)
    assert metrics["eval/pass@4"] == 0.75 and metrics["eval/greedy"] == 0.5


def test_a_single_question_has_no_interval() -> None:
    alone = Evaluation(STAGED.sampled[1:2], [])
    assert alone.metrics().keys() == {"eval/success", "eval/pass@4", "eval/calls", "eval/tokens"}
    assert math.isnan(alone.passes(1).low) and str(alone.passes(1)) == "0.500"


def test_the_report_has_a_line_a_figure() -> None:
    lines = str(STAGED).splitlines()
    assert [line.split()[0] for line in lines] == ["Pass@1", "Pass@2", "Pass@4", "greedy", "calls", "tokens"]
    assert lines[2].split()[1] == "0.750"


@pytest.fixture
def measured(model_folder: Path):
    """Evaluate a policy; returns what it did."""

    def run(policy: LocalPolicy, *overrides: str, seed: int = 3, questions: int = 3) -> Evaluation:
        settings = config.load(None, tiny.settings(Path("unused"), model_folder, *overrides))
        task = tiny.letters(questions)
        sampler, greedy = agents(policy, task, settings, task.samples)
        return anyio.run(evaluate, task.samples, RewardScorer(tiny.early), sampler, greedy, 3, seed)

    return run


def trees(groups: list[Group]) -> list[list[list[int]]]:
    return [[t.tokens for t in g.trajectories()] for g in groups]


def test_every_question_is_answered_as_often_as_asked(measured, model_folder: Path) -> None:
    policy = api.load_policy(str(model_folder))
    found = measured(policy)
    assert [g.sample.id for g in found.sampled] == [g.sample.id for g in found.greedy] == ["q0", "q1", "q2"]
    assert all(len(g.tree.leaves) == 3 for g in found.sampled)
    assert all(len(g.tree.leaves) == 1 for g in found.greedy)
    assert all(leaf.origin is Origin.GLOBAL for g in found.sampled for leaf in g.tree.leaves)
    assert found.calls.mean > 0, "the model must call its tool for this to say anything"
    assert trees(measured(policy).sampled) == trees(found.sampled)
    assert trees(measured(policy, seed=4).sampled) != trees(found.sampled)
    assert trees(measured(policy, seed=4).greedy) == trees(found.greedy)


def test_more_questions_leave_the_answers_to_the_others_alone(measured, model_folder: Path) -> None:
    policy = api.load_policy(str(model_folder))
    assert trees(measured(policy, questions=5).sampled)[:3] == trees(measured(policy).sampled)


def test_two_policies_are_measured_on_the_same_draws(
    measured, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[set[int]] = []
    real_open, real_fork = LocalGenerator.open, LocalGenerator.fork

    def opened(self: LocalGenerator, tokens, noise: int):
        keys[-1].add(noise)
        return real_open(self, tokens, noise)

    def forked(self: LocalGenerator, sequence, length: int, noise: int):
        keys[-1].add(noise)
        return real_fork(self, sequence, length, noise)

    monkeypatch.setattr(LocalGenerator, "open", opened)
    monkeypatch.setattr(LocalGenerator, "fork", forked)
    policy = api.load_policy(str(model_folder))
    found = []
    # Another algorithm, group size or temperature must not change them either.
    for overrides in ([], ["algorithm.name=grpo", "algorithm.group_size=4"]):
        keys.append(set())
        # `settings` names keys of AEPO.
        found.append(measured(policy, *overrides) if not overrides else other(policy, model_folder, overrides))
        with torch.no_grad():
            for parameter in policy.parameters():
                parameter.add_(0.01)
    assert keys[0] == keys[1] and len(keys[0]) == 9
    assert trees(found[0].sampled) != trees(found[1].sampled)


def other(policy: LocalPolicy, model: Path, overrides: list[str]) -> Evaluation:
    settings = config.load(None, [f"model.path={model}", "rollout.max_tokens=40", *overrides])
    task = tiny.letters(3)
    sampler, greedy = agents(policy, task, settings, task.samples)
    return anyio.run(evaluate, task.samples, RewardScorer(tiny.early), sampler, greedy, 3, 3)
