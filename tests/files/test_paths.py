"""`~` is the home folder wherever a path can be written: settings, files, commands, Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import aepo
from aepo import config
from aepo.assembly.policies import load_policy
from aepo.cli import main
from aepo.comparison import plan
from aepo.files.paths import expanded, local
from aepo.tasks.datasets import find
from aepo.tasks.reading import load_samples
from aepo.tools.sandbox.packages import folders
from tests import tiny


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("written", "meant"),
    [("~", ""), ("~/x", "/x"), ("~/a b/c", "/a b/c")],
)
def test_a_leading_tilde_is_the_home_folder(home: Path, written: str, meant: str) -> None:
    assert expanded(written) == f"{home}{meant}" and local(written) == Path(f"{home}{meant}")


@pytest.mark.parametrize("text", ["", "x/~/y", "a~", "~nobody_has_this_name/x", "about ~5", "~5 kg"])
def test_any_other_tilde_stays(home: Path, text: str) -> None:
    assert expanded(text) == text


@pytest.mark.parametrize("key", ["run", "model.path", "model.tokenizer", "tools.cache", "task.options.file"])
def test_settings(home: Path, key: str) -> None:
    section, _, name = key.rpartition(".")
    text = f"{name}: ~/x"
    for part in reversed(section.split(".")):
        text = f"{part}: {{{text}}}" if part else text
    (home / "run.yaml").write_text(text)
    for settings in (config.load(None, [f"{key}=~/x"]), config.load("~/run.yaml")):
        assert config.flat(settings.model_dump())[key] == f"{home}/x"


def test_settings_made_in_python_and_lists(home: Path) -> None:
    assert aepo.Config(run="~/x").run == f"{home}/x"
    settings = config.load(None, ["task.options.files=[~/a, {b: ~/c}]"])
    assert settings.task.options == {"files": [f"{home}/a", {"b": f"{home}/c"}]}
    assert plan.load(None, ["folder=~/x"]).folder == f"{home}/x"


def test_a_run_is_trained_evaluated_viewed_and_exported(home: Path, model_folder: Path, capsys) -> None:
    (home / "model").symlink_to(model_folder)
    settings = config.load(None, tiny.settings(Path("unused"), Path("unused"), "train.steps=1"))
    run = aepo.train("~/model", tiny.letters(), config=settings, run="~/run")
    assert run.folder == home / "run" and aepo.view("~/run", out="~/page.html") == home / "page.html"
    assert load_policy("~/run").path and aepo.evaluate("~/run", tiny.letters(3), 1, False, config=settings).sampled
    assert main(["view", "--export=~/again.html", "~/run"]) == 0, capsys.readouterr().err
    assert (home / "again.html").is_file()
    named = ["task.name=tests.tiny:letters", "--samples=1", "--out=~/found"]
    assert main(["eval", "~/run", *named]) == 0, capsys.readouterr().err
    assert (home / "found" / "report.json").is_file()
    assert not list(Path().glob("~*"))


def test_data_ids_and_corpora(home: Path) -> None:
    row = {"question": "Who?", "answer": "#### 1", "id": "x"}
    (home / "data.jsonl").write_text(json.dumps(row))
    (home / "ids.txt").write_text("x\n")
    (home / "documents.jsonl").write_text(json.dumps({"title": "a", "text": "b"}))
    assert len(load_samples(find("gsm8k"), "~/data.jsonl", Path("~/ids.txt")).samples) == 1
    assert aepo.search("~/documents.jsonl").name == "search"
    assert main(["tools", "index", "~/documents.jsonl", "--out=~/index"]) == 0
    assert (home / "index").is_dir()
    with pytest.raises(ValueError, match=f"{home}/environment"):
        folders("~/environment")


def test_the_first_setting_of_a_command_is_taken_as_it_is(home: Path, capsys) -> None:
    """It stands where a file could, and a path would lose a slash."""
    assert main(["train", "model.path=https://host//v1/", "--dry-run"]) == 2
    assert "model.path is a server (https://host//v1/)" in capsys.readouterr().err
