"""Whole runs in an environment are exact: twice, resumed, by snapshots, recorded and replayed."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import aepo
from aepo import api, config
from aepo.equipment.tools import CACHE, SPENT
from aepo.runs import checkpoint
from aepo.runs.metrics import read_metrics
from aepo.tools.limits import BudgetSpent
from aepo.types import StopReason
from aepo.viewer import read_trees, tree_files
from tests import tiny
from tests.kept import comparable


class Letters:
    """Answers with letters that depend on all that was asked before, and is done now and then."""

    gone = False
    done = False

    def __init__(self) -> None:
        assert not self.gone, "no world may be made"

    def reset(self, question: str, seed: int) -> str:
        self.asked = [question]
        return random.Random(seed).choice(tiny.ASKED)

    def search(self, query: str) -> str:
        """Look something up.

        Args:
            query: What to look up.
        """
        self.asked.append(query)
        found = zlib.crc32(" ".join(self.asked).encode())
        self.done = found % 3 == 0
        return tiny.ASKED[found % 8] + tiny.ASKED[found // 8 % 8]

    @property
    def state(self) -> list[str]:
        return self.asked

    def get_reward(self) -> float:
        return zlib.crc32(" ".join(self.asked).encode()) % 5 / 4


class Kept(Letters):
    def snapshot(self) -> list[str]:
        return list(self.asked)

    def restore(self, snapshot: list[str]) -> None:
        self.asked = list(snapshot)


Go = Callable[..., Path]


@pytest.fixture
def go(tmp_path: Path, model_folder: Path) -> Go:
    """A run in such a world; returns its folder."""

    def run(name: str, *overrides: str, kind: type[Letters] = Letters, resume: bool = False) -> Path:
        questions = tiny.samples(7)
        task = aepo.Task(
            "letters", questions[:5], held_out=questions[5:], system="", environment=aepo.environment(kind, max_open=12)
        )
        given = tiny.settings(tmp_path / name, model_folder, "train.steps=3", *overrides)
        api.train_task(config.load(None, given), task, resume)
        return tmp_path / name

    return run


def rows(run: Path) -> list[dict[str, Any]]:
    """The metrics of a run at its last step, and of all training; without clocks and how worlds were made."""
    found = [comparable(row) for row in read_metrics(run / "metrics.jsonl")]
    found = [row for row in found if "reward/mean" in row or row["step"] == 3]
    return [{name: value for name, value in row.items() if "environment/" not in name} for row in found]


def weights(run: Path) -> dict[str, list[float]]:
    newest = checkpoint.latest(run / "checkpoints")
    assert newest is not None
    return {name: value.tolist() for name, value in load_file(newest / "policy" / "model.safetensors").items()}


def trees(run: Path) -> list[Any]:
    return [[record.group for record in read_trees(path)] for path in tree_files(run)]


def same(one: Path, other: Path) -> bool:
    return rows(one) == rows(other) and trees(one) == trees(other) and weights(one) == weights(other)


def test_a_run_is_exact_twice_resumed_and_with_snapshots(go: Go) -> None:
    first = go("first")
    counted = [row for row in read_metrics(first / "metrics.jsonl") if "environment/opened" in row]
    assert all(row["environment/opened"] == row["environment/closed"] for row in counted)
    assert sum(row.get("environment/replayed_calls", 0) for row in counted) > 0
    leaves = [leaf for step in trees(first) for group in step for leaf in group.tree.leaves]
    assert any(leaf.stop_reason is StopReason.DONE for leaf in leaves)
    assert all(leaf.reward == leaf.outcome for leaf in leaves)
    assert same(first, go("second"))
    go("resumed", "train.steps=1")
    assert same(first, go("resumed", resume=True))
    assert same(first, go("kept", kind=Kept))


def test_a_recorded_run_is_replayed_without_any_world(go: Go) -> None:
    kept = "rollout.keep_states=true"
    go("recorded", "tools.mode=record", kept, "train.steps=1")
    recorded = go("recorded", "tools.mode=record", kept, resume=True)
    assert same(go("live", kept), recorded)
    gone = type("Gone", (Letters,), {"gone": True})
    replayed = go("replayed", "tools.mode=replay", kept, f"tools.cache={recorded / CACHE}", kind=gone)
    assert same(replayed, recorded)
    states = [node.state for step in trees(recorded) for group in step for node in group.tree.nodes]
    assert any(state is not None for state in states)


class Counted(Letters):
    """Counts the worlds that are open, and the calls of all of them, replayed ones too."""

    open = 0
    calls = 0

    def __init__(self) -> None:
        super().__init__()
        Counted.open += 1

    def search(self, query: str) -> str:
        """Look something up.

        Args:
            query: What to look up.
        """
        Counted.calls += 1
        return super().search(query)

    def close(self) -> None:
        Counted.open -= 1


def test_a_spent_budget_closes_all_worlds_and_a_larger_one_lets_the_run_go_on(go: Go) -> None:
    whole = go("whole")
    budget = sum(row.get("tool/search/calls", 0) for row in read_metrics(whole / "metrics.jsonl")) // 2
    with pytest.raises(BudgetSpent) as stopped:
        go("run", f"tools.budget.calls={budget:.0f}", kind=Counted)
    assert "go on with: aepo" in stopped.value.__notes__[0]
    assert Counted.open == 0 < Counted.calls
    # What a branch replays to come to its place has been paid by the trajectory that it leaves.
    paid = len((whole.parent / "run" / SPENT).read_text().splitlines())
    assert paid == budget < Counted.calls
    assert same(whole, go("run", "tools.budget.calls=100000", kind=Counted, resume=True))
    assert Counted.open == 0


class Dusty(Letters):
    """All worlds of the process count together, so that branches are refused."""

    steps = 0

    def search(self, query: str) -> str:
        """Look something up.

        Args:
            query: What to look up.
        """
        Dusty.steps += 1
        return super().search(query) + tiny.ASKED[Dusty.steps % 5 == 0]


def test_a_replay_refuses_the_branches_that_were_refused(go: Go) -> None:
    recorded = go("recorded", "tools.mode=record", kind=Dusty)
    gone = type("Gone", (Dusty,), {"gone": True})
    replayed = go("replayed", "tools.mode=replay", f"tools.cache={recorded / CACHE}", kind=gone)
    assert same(replayed, recorded)
    reasons = [why for step in trees(recorded) for group in step for node in group.tree.nodes for why in node.refused]
    assert reasons


def test_worlds_outlive_a_step_that_does_not_wait_for_their_groups(go: Go) -> None:
    run = go("overlap", "rollout.deterministic=false", "rollout.overlap=1")
    counted = read_metrics(run / "metrics.jsonl")
    opened, closed = (
        sum(row.get(f"{kind}environment/{name}", 0) for row in counted for kind in ("", "eval/"))
        for name in ("opened", "closed")
    )
    assert opened == closed > 0
    leaves = [leaf for step in trees(run) for group in step for leaf in group.tree.leaves]
    assert leaves and all(leaf.reward == leaf.outcome for leaf in leaves)
