"""The hub is read through its own library; what goes wrong there is one line that says what to do."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aepo.tasks.datasets import find
from aepo.tasks.reading import DataError, DataSet, Hub, load_samples

CARD = """---
configs:
- config_name: algebra
  data_files: [{split: test, path: algebra.jsonl}]
- config_name: geometry
  data_files: [{split: test, path: geometry.jsonl}]
---
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A data set with two configurations, laid out as on the hub."""
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "README.md").write_text(CARD)
    for config in ("algebra", "geometry"):
        rows = [{"problem": f"{config} {n}?", "solution": f"It is $\\boxed{{{n}}}$."} for n in range(2)]
        (folder / f"{config}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def local(repository: Path, *configs: str) -> DataSet:
    return replace(find("math"), hub=Hub(str(repository), "test", configs))


def test_the_library_reads_one_configuration_after_the_other(repository: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    load = partial(datasets.load_dataset, cache_dir=str(tmp_path / "cache"))
    loaded = load_samples(local(repository, "geometry", "algebra"), load=load)
    assert [(s.question, s.target) for s in loaded.samples] == [
        ("geometry 0?", "0"),
        ("geometry 1?", "1"),
        ("algebra 0?", "0"),
        ("algebra 1?", "1"),
    ]


def test_a_wrong_row_is_named_by_repository_configuration_split_and_number(repository: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    load = partial(datasets.load_dataset, cache_dir=str(tmp_path / "cache"))
    (repository / "algebra.jsonl").write_text('{"task": "?"}')
    with pytest.raises(DataError, match=re.escape("repository (algebra, test), row 1: no field 'question'")):
        load_samples(local(repository, "algebra"), load=load)


def test_a_configuration_or_split_that_is_not_there_is_one_line(repository: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    load = partial(datasets.load_dataset, cache_dir=str(tmp_path / "cache"))
    for data_set, split in ((local(repository, "topology"), None), (local(repository, "algebra"), "dev")):
        with pytest.raises(DataError, match=r"cannot read math from .*or give a local file$") as error:
            load_samples(data_set, split=split, load=load)
        assert "\n" not in str(error.value)


def refusing(error: Exception) -> Any:
    def load(*arguments: object, **named: object) -> None:
        raise error

    return load


def test_a_gated_data_set_says_how_to_get_access() -> None:
    with pytest.raises(DataError, match="gaia is gated") as error:
        load_samples(find("gaia"), load=refusing(FileNotFoundError("Dataset 'x' is a gated dataset on the Hub.")))
    for part in ("https://huggingface.co/datasets/gaia-benchmark/GAIA", "hf auth login", "HF_TOKEN", "local file"):
        assert part in str(error.value)


def test_no_connection_is_no_matter_of_access() -> None:
    with pytest.raises(DataError, match=r"cannot read gaia from the Hugging Face Hub \(no route\): connect, or give a"):
        load_samples(find("gaia"), load=refusing(ConnectionError("no\nroute")))


def test_without_the_library_the_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=re.escape("needs the extra 'data': pip install \"aepo-rl[data]\"")):
        load_samples(find("gsm8k"))


def test_offline_with_nothing_in_the_cache_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    code = (
        "from aepo.tasks.datasets import find\nfrom aepo.tasks.reading import load_samples\nload_samples(find('gsm8k'))"
    )
    away = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=away, capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert "DataError: cannot read gsm8k from the Hugging Face Hub (Couldn't reach 'openai/gsm8k' on the Hub" in last
