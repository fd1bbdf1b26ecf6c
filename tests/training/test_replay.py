"""Whole runs that are recorded and replayed, cached, stopped by a budget, and spared repeated calls."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import aepo
from aepo import api, config
from aepo.equipment.tools import CACHE, SPENT
from aepo.runs import checkpoint
from aepo.runs.metrics import read_metrics
from aepo.tools.cache.layer import ReplayError
from aepo.tools.limits import BudgetSpent
from aepo.types import ToolError
from aepo.viewer import read_trees, tree_files
from tests import tiny
from tests.kept import comparable, step_of


class Web:
    """A service that answers nothing twice the same, and fails now and then."""

    def __init__(self, pure: bool = True) -> None:
        self.asked: list[str] = []
        self.gone = False
        self.lock = threading.Lock()

        @aepo.tool(pure=pure, price=0.25, timeout=600)
        def search(query: str) -> str:
            """Look something up.

            Args:
                query: What to look up.
            """
            with self.lock:
                assert not self.gone, "nobody may be asked"
                self.asked.append(query)
                number = len(self.asked)
            if number % 7 == 0:
                raise ToolError("?")
            return tiny.ASKED[number % 8] + query[:2]

        self.task = replace(tiny.letters(), tools=[search])


Go = Callable[..., Path]


@pytest.fixture
def go(tmp_path: Path, model_folder: Path) -> Go:
    """Two steps of a run with this service; returns its folder."""

    def run(web: Web, name: str, *overrides: str, resume: bool = False) -> Path:
        given = tiny.settings(tmp_path / name, model_folder, "train.steps=2", *overrides)
        api.train_task(config.load(None, given), web.task, resume)
        return tmp_path / name

    return run


def rows(run: Path) -> list[dict[str, Any]]:
    return [comparable(row) for row in read_metrics(run / "metrics.jsonl")]


def total(run: Path, name: str) -> float:
    found = read_metrics(run / "metrics.jsonl")
    return sum(row.get(f"tool/{name}", 0.0) + row.get(f"eval/tool/{name}", 0.0) for row in found)


def trees(run: Path) -> list[Any]:
    return [[record.group for record in read_trees(path)] for path in tree_files(run)]


def weights(run: Path) -> dict[str, list[float]]:
    newest = checkpoint.latest(run / "checkpoints")
    assert newest is not None
    return {name: value.tolist() for name, value in load_file(newest / "policy" / "model.safetensors").items()}


@pytest.mark.parametrize("pure", [True, False])
def test_a_recorded_run_is_replayed_bit_for_bit_without_its_tools(go: Go, pure: bool) -> None:
    web = Web(pure)
    recorded = go(web, "recorded", "tools.mode=record")
    asked = len(web.asked)
    assert asked > 10 and total(recorded, "cache/stored") == asked
    web.gone = True
    replayed = go(web, "replayed", "tools.mode=replay", f"tools.cache={recorded / CACHE}")
    assert rows(replayed) == rows(recorded) and trees(replayed) == trees(recorded)
    assert weights(replayed) == weights(recorded)
    assert total(replayed, "cache/hits") >= asked and total(replayed, "cache/misses") == 0
    assert any(row.get("tool/search/error_rate", 0) > 0 for row in rows(replayed)), "failures are replayed too"


def test_without_a_recording_the_same_run_is_another_one(go: Go) -> None:
    web = Web()
    assert rows(go(web, "one")) != rows(go(web, "two")), "else these tests would show nothing"


def test_a_recording_that_was_resumed_is_replayed_too(go: Go) -> None:
    web = Web()
    go(web, "recorded", "tools.mode=record", "train.steps=1")
    recorded = go(web, "recorded", "tools.mode=record", resume=True)
    web.gone = True
    replay = ("tools.mode=replay", f"tools.cache={recorded / CACHE}")
    go(web, "replayed", *replay, "train.steps=1")
    assert rows(go(web, "replayed", *replay, resume=True)) == rows(recorded)


def test_a_replay_that_meets_a_call_which_was_not_recorded_stops_with_a_checkpoint(go: Go) -> None:
    web = Web()
    recorded = go(web, "recorded", "tools.mode=record")
    web.gone = True
    with pytest.raises(ReplayError, match=r"replay: no result of search \{.*\} in .*tools\.sqlite") as stopped:
        go(web, "replayed", "tools.mode=replay", f"tools.cache={recorded / CACHE}", "train.steps=60")
    (note,) = stopped.value.__notes__
    newest = checkpoint.latest(recorded.parent / "replayed" / "checkpoints")
    assert newest is not None and step_of(newest) >= 2
    assert note == (
        f"stopped after step {step_of(newest)}; go on with: "
        f"aepo train --resume {recorded.parent}/replayed (if its task was made with arguments: "
        f"aepo.train(..., run='{recorded.parent}/replayed', resume=True))"
    )


def test_a_cache_spares_a_second_run_what_the_first_has_paid(go: Go, tmp_path: Path) -> None:
    web = Web()
    shared = ("tools.mode=cached", f"tools.cache={tmp_path / 'shared.sqlite'}")
    first = go(web, "first", *shared)
    paid = len(web.asked)
    second = go(web, "second", *shared)
    assert len(web.asked) - paid < paid / 2
    assert total(second, "cache/hits") > total(first, "cache/hits") > 0
    assert total(first, "cache/misses") == paid


def test_what_a_rollout_that_overlaps_training_asks_is_kept_and_counted_too(go: Go) -> None:
    web = Web()
    overlap = ("rollout.overlap=1", "rollout.deterministic=false", "tools.budget.calls=1000")
    run = go(web, "run", "tools.mode=cached", *overlap)
    assert total(run, "cache/misses") == len(web.asked) > 0
    assert len((run / SPENT).read_text().splitlines()) == len(web.asked)


def test_a_budget_stops_the_run_with_a_checkpoint_and_a_larger_one_lets_it_go_on(go: Go, tmp_path: Path) -> None:
    web = Web()
    whole = go(web, "whole")
    calls = len(web.asked)
    web = Web()
    with pytest.raises(BudgetSpent, match=rf"{calls - 3} of {calls - 3} calls") as stopped:
        go(web, "run", f"tools.budget.calls={calls - 3}", "evaluation.every=1")
    (note,) = stopped.value.__notes__
    newest = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert newest is not None and note.startswith(f"stopped after step {step_of(newest)}; go on with: aepo")
    assert len((tmp_path / "run" / SPENT).read_text().splitlines()) == calls - 3
    # A call that was paid for may wait for its thread when the run stops.
    unmade = calls - 3 - len(web.asked)
    assert 0 <= unmade <= 16
    with pytest.raises(BudgetSpent):
        go(web, "run", f"tools.budget.calls={calls - 3}", resume=True)
    assert len(web.asked) == calls - 3 - unmade, "a resumed run has spent what the stopped one had"
    run = go(web, "run", f"tools.budget.money={calls}", resume=True)
    assert rows(run)[-1]["step"] == rows(whole)[-1]["step"] == 2
    spent = read_metrics(run / "metrics.jsonl")[-1]
    paid = len(web.asked) + unmade
    assert spent["eval/tool/spent/calls"] == paid and spent["eval/tool/spent/money"] == paid / 4


def test_calls_that_a_trajectory_repeats_are_answered_by_it_and_not_executed(go: Go) -> None:
    web = Web()
    run = go(web, "run", "tools.repeat=answer", "train.steps=4", "rollout.max_tool_calls=5", "evaluation.every=0")
    steps = [row for row in rows(run) if "reward/mean" in row]
    results = [r for step in trees(run) for group in step for node in group.tree.nodes for r in node.results]
    repeated = [result for result in results if result.repeated]
    assert len(repeated) == sum(row.get("tool/repeated_calls", 0) for row in steps) > 0
    executed = sum(row["tool/executed_calls"] for row in steps)
    assert executed == sum(result.executed for result in results) <= len(results) - len(repeated)
    assert steps[-1]["budget/executed_calls"] == executed


def test_a_cache_that_is_locked_for_a_while_costs_no_trajectory_and_is_told(go: Go, tmp_path: Path) -> None:
    web = Web()
    file = tmp_path / "shared.sqlite"
    go(web, "first", "tools.mode=cached", f"tools.cache={file}")
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    real, calls = tiny.early, []

    def reward(sample: aepo.Sample, trajectory: aepo.Trajectory) -> float:
        calls.append(1)
        if len(calls) == 10:
            other.execute("BEGIN IMMEDIATE")
        if len(calls) == 40:
            other.close()
        return real(sample, trajectory)

    web.task = replace(web.task, reward=reward)
    run = go(
        web, "second", "seed=1", "train.steps=5", "tools.mode=cached", f"tools.cache={file}", "tools.cache_wait=0.05"
    )
    assert [row["budget/trajectories"] for row in rows(run) if "reward/mean" in row] == [12, 24, 36, 48, 60]
    assert total(run, "cache/waiting") > 0 and total(run, "cache/stored") > 0
    with sqlite3.connect(file) as connection:
        kept = connection.execute("SELECT count(*) FROM results").fetchone()[0]
    connection.close()
    assert kept >= total(run, "cache/waiting") + total(run, "cache/stored"), "what waited was written"


def test_an_evaluation_is_recorded_and_replayed_too(go: Go, tmp_path: Path, model_folder: Path) -> None:
    web = Web()

    def measure(*overrides: str) -> str:
        own = tiny.settings(tmp_path / "none", model_folder, f"tools.cache={tmp_path / 'eval.sqlite'}", *overrides)
        return str(api.evaluate(str(model_folder), web.task, 3, config=config.load(None, own)))

    recorded = measure("tools.mode=record")
    web.gone = True
    assert measure("tools.mode=replay") == recorded
    with pytest.raises(config.ConfigError, match=r"give tools\.cache a file"):
        own = tiny.settings(tmp_path / "none", model_folder, "tools.mode=cached")
        api.evaluate(str(model_folder), web.task, 3, config=config.load(None, own))
