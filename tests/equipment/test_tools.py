"""The tools of a task under the settings of a run."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import anyio
import pytest

from aepo.config import Config, ConfigError, load
from aepo.equipment.tools import CACHE, SPENT, Equipment, equip
from aepo.tools.base import tool
from aepo.tools.cache.database import CacheRefused
from aepo.tools.cache.store import CacheUnavailable
from aepo.tools.limits import BudgetSpent
from aepo.types import ToolResult


@tool(pure=True, service="web", price=0.5)
def search(query: str) -> str:
    """Search.

    Args:
        query: What.
    """
    return query[::-1]


@tool
def dice() -> str:
    """Throw a die."""
    return "4"


def settings(run: Path, *overrides: str) -> Config:
    return load(None, [f"run={run}", *overrides])


def ask(equipment: Equipment, query: str = "ab") -> ToolResult:
    return anyio.run(equipment.tools[0].call, {"query": query})


def test_by_default_tools_are_as_the_task_has_them(tmp_path: Path) -> None:
    equipment = equip(settings(tmp_path), [search, dice])
    assert equipment.tools == (search, dice) and equipment.store is None and equipment.budget is None
    with equipment.in_use(tmp_path, keep=True):
        assert ask(equipment).text == "ba"
    assert list(tmp_path.iterdir()) == []


def test_limits_of_the_configuration_win_over_those_of_the_task(tmp_path: Path) -> None:
    config = settings(tmp_path, "tools.limits.search={timeout: 3, concurrency: 5, price: 2, service: other}")
    (made, other) = equip(config, [search, dice]).tools
    assert (made.timeout, made.concurrency, made.price, made.service) == (3, 5, 2, "other")
    assert other == dice


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("tools.limits.serch.rate=1", "unknown key 'tools.limits.serch': did you mean 'search'?"),
        ("tools.services.net.rate=1", "unknown key 'tools.services.net': known here: web"),
        ("tools.mode=replay", r"there is no tool cache .*tools\.sqlite to replay: give tools\.cache the file of a rec"),
    ],
)
def test_what_names_nothing_is_refused(tmp_path: Path, override: str, line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        equip(settings(tmp_path, override), [search, dice])


def test_a_budget_of_money_without_prices_would_never_run_out_and_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no tool has a price: set tools\.limits\.<tool>\.price"):
        equip(settings(tmp_path, "tools.budget.money=1"), [dice])


def test_what_the_cache_answers_costs_nothing_and_what_was_spent_is_kept(tmp_path: Path) -> None:
    config = settings(tmp_path, "tools.mode=cached", "tools.budget.money=1")
    equipment = equip(config, [search])
    with equipment.in_use(tmp_path, keep=True):
        for query in ("a", "a", "b", "a"):
            ask(equipment, query)
        with pytest.raises(BudgetSpent):
            ask(equipment, "c")
    assert [json.loads(line) for line in (tmp_path / SPENT).read_text().splitlines()] == [["search", 0.5]] * 2
    resumed = equip(config, [search])
    with resumed.in_use(tmp_path, keep=True, resume=True):
        assert ask(resumed, "a").text == "a"
        with pytest.raises(BudgetSpent):
            ask(resumed, "c")


def locked(path: Path) -> sqlite3.Connection:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


def test_a_recording_that_could_not_be_written_fails_at_its_end(tmp_path: Path) -> None:
    equipment = equip(settings(tmp_path, "tools.mode=record", "tools.cache_wait=0.05"), [search])
    with pytest.raises(CacheUnavailable, match="1 tool results could not be written"), equipment.in_use(tmp_path):
        other = locked(tmp_path / CACHE)
        ask(equipment)
    other.close()


def test_a_cache_that_could_not_be_written_is_only_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    equipment = equip(settings(tmp_path, "tools.mode=cached", "tools.cache_wait=0.05"), [search])
    with equipment.in_use(tmp_path):
        other = locked(tmp_path / CACHE)
        ask(equipment)
    other.close()
    assert "1 tool results could not be written" in caplog.text


def test_the_failure_of_a_run_is_not_hidden_by_that_of_its_recording(tmp_path: Path) -> None:
    equipment = equip(settings(tmp_path, "tools.mode=record", "tools.cache_wait=0.05"), [search])
    with pytest.raises(KeyError) as failed, equipment.in_use(tmp_path):
        other = locked(tmp_path / CACHE)
        ask(equipment)
        raise KeyError("run")
    other.close()
    assert any("1 tool results could not be written" in note for note in failed.value.__notes__)


def test_a_recording_cannot_begin_in_a_file_that_is_locked(tmp_path: Path) -> None:
    config = settings(tmp_path, "tools.mode=record", "tools.cache_wait=0.05")
    with equip(config, [search]).in_use(tmp_path):
        pass
    other = locked(tmp_path / CACHE)
    with pytest.raises(CacheRefused, match="locked"), equip(config, [search]).in_use(tmp_path):
        pass
    other.close()


def test_tools_that_are_always_asked_anew_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    equip(settings(tmp_path, "tools.mode=cached"), [search, dice])
    assert "not declared pure, so always asked anew: dice" in caplog.text
