"""A run goes on as what it was: its questions, its tools, its day; and what it prints about going on works."""

from __future__ import annotations

import datetime
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

import aepo
from aepo import api, config
from aepo.cli import main
from aepo.engines.prompts import protocols_without_model
from aepo.runs.begun import check_free
from aepo.runs.brought import told_by, unlike_training
from aepo.runs.folder import RunFolder
from aepo.runs.metrics import read_metrics
from tests import tiny

HERE = "tests.runs.test_resumed"


def settings(run: Path, model: Path, *more: str) -> aepo.Config:
    return config.load(None, tiny.settings(run, model, "evaluation.every=0", "train.steps=1", *more))


def variant(kind: str = "") -> aepo.Task:
    """The letters, with one thing changed."""
    task = tiny.letters()
    first, *others = task.samples
    return {
        "": task,
        "target": replace(task, samples=[replace(first, target="j"), *others]),
        "more": replace(task, samples=[*task.samples, aepo.Sample("hh", "i", "new")]),
        "fewer": replace(task, samples=others),
        "order": replace(task, samples=[*others, first]),
        "held out": replace(task, held_out=task.held_out[:1]),
        "tool": replace(task, tools=[replace(tiny.search, description="Look elsewhere.")]),
        "system": replace(task, system="Be brief."),
    }[kind]


def counted(kind: str = "") -> aepo.Task:
    """The letters, by a name that commands find; the kind is an option that may not change."""
    return variant(Path("kind").read_text() if Path("kind").is_file() else kind)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("target", "question 'q0' has changed since the run began; set it back, or start another run folder"),
        ("more", "question 'new' is new"),
        ("fewer", "question 'q0' is gone"),
        ("order", "the order of the questions has changed, from 'q1' on, since"),
        ("held out", "held-out question 'q6' is gone"),
        ("tool", "tool 'search' has changed"),
        ("system", "the system message has changed"),
    ],
)
def test_a_run_is_not_resumed_on_another_task(tmp_path, model_folder: Path, monkeypatch, capsys, kind, line) -> None:
    monkeypatch.chdir(tmp_path)
    api.train_config(settings(tmp_path / "run", model_folder, f"task.name={HERE}:counted"))
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    Path("kind").write_text(kind)
    assert main(["train", "--resume", "run", "train.steps=2"]) == 2
    assert f"aepo: cannot resume run: {line}" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}


def test_a_run_of_an_older_version_goes_on_and_is_checked_from_then_on(tmp_path: Path, model_folder: Path) -> None:
    run = api.train_task(settings(tmp_path / "run", model_folder), variant()).folder
    (run / "task.json").unlink()
    saved = config.load(run / "config.yaml")
    old = saved.model_dump(mode="json")
    del old["rollout"]["date"]
    (run / "config.yaml").write_text(json.dumps(old))
    api.train_task(settings(run, model_folder, "train.steps=2"), variant(), resume=True)
    assert json.loads((run / "task.json").read_text())["samples"].keys() == {f"q{n}" for n in range(5)}
    with pytest.raises(ValueError, match="question 'q0' is gone"):
        api.train_task(settings(run, model_folder, "train.steps=3"), variant("fewer"), resume=True)


def test_the_day_of_a_run_stays(tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = api.train_task(settings(tmp_path / "run", model_folder), variant()).folder
    assert config.load(run / "config.yaml").rollout.date == datetime.date.today()
    before = (run / "config.yaml").read_text().replace(str(datetime.date.today()), "2001-02-03")
    (run / "config.yaml").write_text(before)
    again = api.train_task(settings(run, model_folder, "train.steps=2"), variant(), resume=True)
    assert again.config.rollout.date == datetime.date(2001, 2, 3) == config.load(run / "config.yaml").rollout.date
    with pytest.raises(ValueError, match=r"rollout\.date was '2001-02-03' and is now '2002-01-01'"):
        api.train_task(settings(run, model_folder, "rollout.date=2002-01-01"), variant(), resume=True)


def failing(after: int) -> aepo.Task:
    scored = []

    def reward(sample: aepo.Sample, trajectory: aepo.Trajectory) -> float:
        scored.append(sample)
        if len(scored) == after:
            raise RuntimeError("judge is down")
        return tiny.early(sample, trajectory)

    return replace(tiny.letters(), reward=reward)


def stopped() -> aepo.Task:
    return failing(100 if Path("mended").exists() else 40)


@pytest.mark.parametrize("folder", ["run", "a run's folder"])
def test_the_command_that_a_stopped_run_prints_goes_on(tmp_path, model_folder, monkeypatch, capsys, folder) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError) as error:
        api.train_config(settings(Path(folder), model_folder, f"task.name={HERE}:stopped", "train.steps=3"))
    (line,) = re.findall("go on with: (.*)", "\n".join(error.value.__notes__))
    Path("mended").touch()
    assert shlex.split(line)[0] == "aepo" and main(shlex.split(line)[1:]) == 0
    told = capsys.readouterr().out
    for command in re.findall(r"^(?:policy|trees) +aepo (.*)$", told, re.MULTILINE):
        words = shlex.split(command)
        more = {"eval": ["--samples=1", "--out=found"], "view": ["--export=page.html"]}[words[0]]
        assert main([*words, *more]) == 0, command
    with pytest.raises(OSError) as error:
        check_free(RunFolder(Path(folder)))
    (line,) = re.findall("go on with (aepo train --resume .*), or", str(error.value))
    assert main([*shlex.split(line)[1:], "train.steps=4"]) == 0


def test_what_a_run_from_python_prints_goes_on_and_commands_say_what_does(tmp_path, model_folder, capsys) -> None:
    run, chosen = tmp_path / "run", settings(tmp_path / "run", model_folder, "train.steps=3")
    with pytest.raises(RuntimeError) as error:
        aepo.train(str(model_folder), failing(40), config=chosen)
    (line,) = [note for note in error.value.__notes__ if "go on with" in note]
    assert line.endswith(f"go on with: aepo.train(..., run={str(run)!r}, resume=True), all else as before")
    python = {
        ("train", "--resume", str(run)): f"aepo.train(..., run={str(run)!r}, resume=True)",
        ("eval", str(run)): f"aepo.evaluate({str(run)!r}, task)",
        ("solve", "ab", "--model", str(run)): f"aepo.solve({str(run)!r}, question, task=task), or give --tools",
    }
    for words, call in python.items():
        assert main(list(words)) == 2
        told = capsys.readouterr().err
        assert len(told.splitlines()) == 1 and "'letters' from Python" in told and f"use {call}" in told
    assert main(["solve", "ab", "--model", str(run), "--tools", "none", f"--out={tmp_path / 'one'}"]) in (0, 1)
    assert main(["eval", str(run), "task.name=tests.tiny:letters", "--samples=1", f"--out={tmp_path / 'two'}"]) == 0
    assert main(["view", str(run), f"--export={tmp_path / 'page.html'}"]) == 0
    aepo.train(str(model_folder), failing(100), config=chosen, run=str(run), resume=True)
    assert max(row["step"] for row in read_metrics(run / "metrics.jsonl")) == 3
    assert aepo.evaluate(str(run), tiny.letters(), 1, False, config=chosen).sampled


def test_a_task_from_python_that_its_name_finds_again_is_taken_by_commands(tmp_path: Path, model_folder: Path) -> None:
    named = replace(tiny.letters(), name="tests.tiny:letters")
    run = aepo.train(str(model_folder), named, config=settings(tmp_path / "run", model_folder)).folder
    assert main(["train", "--resume", str(run), "train.steps=2"]) == 0


def test_a_task_of_a_function_is_found_again_from_everywhere(tmp_path: Path, model_folder: Path, capsys) -> None:
    run = tmp_path / "run"
    made = aepo.train(str(model_folder), tiny.letters(), config=settings(run, model_folder, "train.steps=1"))
    assert RunFolder(run).resumption().startswith(f"aepo train --resume {run} (if its task was made with arguments")
    assert main(["train", "--resume", str(run), "train.steps=2"]) == 0
    assert main(["eval", str(run), "--samples=1", f"--out={tmp_path / 'found'}"]) == 0
    assert "2 questions of letters" in capsys.readouterr().out
    for policy in (made, str(run)):
        assert len(aepo.evaluate(policy, samples=1, greedy=False).sampled) == 2
    assert aepo.solve(made, "ab", trajectories=2).ended == 2


def test_another_task_of_the_same_function_is_not_taken_for_it(tmp_path: Path, model_folder: Path, capsys) -> None:
    run = tmp_path / "run"
    aepo.train(str(model_folder), tiny.letters(4), config=settings(run, model_folder, "train.steps=1"))
    assert main(["eval", str(run)]) == 2
    assert "from Python, and commands cannot make that task again" in capsys.readouterr().err


def test_a_run_tells_the_model_what_it_was_told_in_training(tmp_path: Path, model_folder: Path) -> None:
    example = aepo.Example("ab", "i", [(aepo.ToolCall("search", {"query": "a"}), "a")])
    told = replace(tiny.letters(), system="ab", describe=False, examples=[example])
    run = tmp_path / "run"
    aepo.train(str(model_folder), told, config=settings(run, model_folder, "train.steps=1"))
    expected = {"system": "ab", "describe": False}
    assert told_by(run, [tiny.search]) == {**expected, "examples": [example]}
    assert told_by(run, []) == {**expected, "examples": []}
    assert unlike_training(run, [tiny.search]) is None
    assert unlike_training(run, []) == "unlike training: the tools are none, training had search"
    protocol = protocols_without_model(settings(run, model_folder), told)[0][""]
    shown = aepo.solve(str(run), "ab", [tiny.search], trajectories=1)
    assert shown.groups[0].tree.nodes[0].tokens == protocol.prompt("ab")
