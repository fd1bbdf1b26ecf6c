"""A user's task file of twenty lines trains as it is on `local` and `trl`; `tests/engines/verl` runs it on `verl`."""

from __future__ import annotations

from pathlib import Path

import pytest

from aepo import api, config
from aepo.runs.metrics import read_metrics
from tests.engines.own_task import FILE, USER, check_trees, settings


def test_the_file_has_twenty_lines():
    assert len(FILE.read_text(encoding="utf-8").splitlines()) <= 20


@pytest.mark.parametrize("engine", ["local", "trl"])
def test_the_file_trains_as_it_is(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if engine == "trl":
        pytest.importorskip("trl", exc_type=ImportError)
    monkeypatch.chdir(USER)
    monkeypatch.syspath_prepend(str(USER))
    run = api.train_config(config.parse(settings(engine, tmp_path / "run")))
    check_trees(run.folder)
    assert [row["step"] for row in read_metrics(run.folder / "metrics.jsonl") if "loss" in row] == [1, 2]
