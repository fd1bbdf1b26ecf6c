"""`aepo tools cache`: what it lists, exports and deletes, and what it refuses."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from aepo.cli import main
from aepo.tools.cache.database import KeptResult
from aepo.tools.cache.store import Store

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """The command in this process: exit code, output, errors."""

    def command(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(["tools", "cache", *arguments])
        return code, *capfd.readouterr()

    return command


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Three results: two of today, one of ten days ago."""
    store = Store(tmp_path / "tools.sqlite")
    store.open()
    now = time.time()
    first = KeptResult(
        "1", "search", "v1", '{"query": "é"}', "", "ok", "several\nlines " + "x" * 500, 0.5, now - 10 * 86400
    )
    store.put(first)
    store.put(replace(first, key="2", status="error", text="down", stored=now - 1))
    store.put(replace(first, key="3", tool="python", arguments='{"code": "1"}', text="1", stored=now))
    store.close()
    return str(tmp_path / "tools.sqlite")


def test_it_lists_the_newest_last_and_the_totals(run: Run, file: str) -> None:
    code, out, _ = run(file)
    lines = out.splitlines()
    assert code == 0 and len(lines) == 6
    assert lines[0].partition("  ")[2].startswith('ok      search {"query": "é"} -> several lines xxx')
    assert lines[0].endswith("...") and len(lines[0]) < 250
    assert lines[1].endswith('error   search {"query": "é"} -> down')
    assert lines[3:] == ["python version v1: 1 results", "search version v1: 2 results", "3 results in all"]
    assert run(file, "--limit", "0")[1].splitlines() == lines[3:]


def test_it_lists_what_is_chosen(run: Run, file: str) -> None:
    assert run(file, "--tool", "python")[1].splitlines()[1:] == ["python version v1: 1 results", "1 results in all"]
    assert run(file, "--older-than", "5")[1].splitlines()[-1] == "1 results in all"
    assert run(file, "--tool", "python", "--older-than", "5")[1] == "0 results in all\n"


def test_it_exports_json_lines(run: Run, file: str, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert run(file, "--tool", "search", "--export", str(out)) == (0, f"2 results written to {out}\n", "")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["arguments"] for row in rows] == [{"query": "é"}] * 2
    assert rows[1].keys() == KeptResult.__dataclass_fields__.keys() and rows[1]["text"] == "down"


def test_it_deletes_what_is_chosen_only(run: Run, file: str) -> None:
    assert run(file, "--prune", "--older-than", "5")[1] == f"1 results deleted from {file}\n"
    assert run(file)[1].splitlines()[-1] == "2 results in all"
    assert run(file, "--prune", "--tool", "search")[1] == f"1 results deleted from {file}\n"
    assert run(file)[1].splitlines()[-2:] == ["python version v1: 1 results", "1 results in all"]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--prune"], "aepo: --prune deletes what is chosen: add --tool or --older-than, or remove "),
        (["--prune", "--tool", "x", "--export", "y"], "aepo: --export and --prune are two commands"),
        (["--older", "3"], "aepo: Unrecognized options"),
    ],
)
def test_bad_input_is_one_line(run: Run, file: str, more: list[str], line: str) -> None:
    code, out, err = run(file, *more)
    assert code == 2 and out == "" and err.startswith(line) and len(err.splitlines()) == 1


def test_a_file_that_is_not_there_or_no_cache_is_one_line(run: Run, tmp_path: Path) -> None:
    assert run(str(tmp_path / "none"))[2] == f"aepo: there is no tool cache {tmp_path}/none\n"
    (tmp_path / "other").write_text("words " * 200)
    code, _, err = run(str(tmp_path / "other"))
    assert code == 2 and "is no tool cache, or damaged" in err and len(err.splitlines()) == 1
    assert not (tmp_path / "none").exists() and (tmp_path / "other").read_text() == "words " * 200
