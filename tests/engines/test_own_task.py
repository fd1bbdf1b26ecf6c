"""A user's task file of twenty lines trains as it is on `local`; `tests/engines/verl` runs it on `verl`."""

from __future__ import annotations

from pathlib import Path

import pytest

from aepo import api, config
from aepo.runs.metrics import read_metrics
from tests.engines.own_task import FILE, USER, check_trees, settings


def test_the_file_has_twenty_lines():
    assert len(FILE.read_text(encoding="utf-8").splitlines()) <= 20


def test_the_file_trains_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(USER)
    monkeypatch.syspath_prepend(str(USER))
    run = api.train_config(config.parse(settings("local", tmp_path / "run")))
    check_trees(run.folder)
    assert [row["step"] for row in read_metrics(run.folder / "metrics.jsonl") if "loss" in row] == [1, 2]
