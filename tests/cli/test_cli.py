"""The command line: what it prints, its exit codes, and one line for whatever is wrong."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import aepo
from aepo.cli import main
from aepo.cli.words import settings_first
from aepo.evaluation.outcomes import from_lines
from aepo.runs import checkpoint
from aepo.types import TrajectoryTree
from tests import tiny
from tests.kept import step_of

ROOT = Path(__file__).parents[2]
TASKS = '''
import threading
from dataclasses import replace
import aepo
from tests import tiny

def rewarded(value):
    calls = []
    def reward(sample, trajectory):
        calls.append(1)
        return tiny.early(sample, trajectory) if len(calls) <= 40 else value
    return replace(tiny.letters(5, 0), reward=reward)

def nan():
    return rewarded(float("nan"))

def nan_and_stuck():
    calls = []

    @aepo.tool(timeout=0.01)
    def search(query: str) -> str:
        """Look something up.

        Args:
            query: What to look up.
        """
        calls.append(1)
        if len(calls) == 1:
            threading.Event().wait()
        return query

    return replace(nan(), tools=[search])

def none():
    return rewarded(None)

def leaving():
    import sys
    calls = []
    def reward(sample, trajectory):
        calls.append(1)
        return tiny.early(sample, trajectory) if len(calls) <= 40 else sys.exit(0)
    return replace(tiny.letters(5, 0), reward=reward)

def empty():
    return aepo.Task("empty", [], [tiny.search], tiny.early)

def undocumented():
    @aepo.tool
    def search(query: str, limit: int) -> str:
        """Look something up.

        Args:
            query: What to look up.
        """
        return query
    return replace(tiny.letters(), tools=[search])

def buggy():
    @aepo.tool
    def search(query: str) -> str:
        """Look something up.

        Args:
            query: What to look up.
        """
        raise ZeroDivisionError("by nothing")
    return replace(tiny.letters(5, 0), tools=[search])

def sized(size: int, held_out: int = 0):
    return tiny.letters(size, held_out)

def no_task():
    return [1, 2]
'''


@pytest.fixture(autouse=True)
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of tasks on the path."""
    (tmp_path / "broken_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "broken_tasks", raising=False)
    monkeypatch.chdir(tmp_path)


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, model_folder: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """A command in this process: exit code, output, errors."""

    def command(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(arguments)
        return code, *capfd.readouterr()

    return command


@pytest.fixture
def train(run: Run, tmp_path: Path, model_folder: Path) -> Run:
    """`aepo train` with tiny settings, one step, overrides on top."""

    def command(*overrides: str) -> tuple[int, str, str]:
        return run("train", *tiny.settings(tmp_path / "run", model_folder, "train.steps=1", *overrides))

    return command


def bad(result: tuple[int, str, str]) -> str:
    """The one line of a refused command."""
    code, _out, err = result
    assert code == 2, err
    assert len(err.splitlines()) == 1 and err.startswith("aepo: "), err
    return err.removeprefix("aepo: ").strip()


def everything(folder: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["train", "train.stepz=4"], "unknown key 'train.stepz': did you mean 'steps'?"),
        (
            ["train", "algorithm.group_size=1"],
            "algorithm.group_size: input should be greater than or equal to 2, got 1",
        ),
        (["train", "nowhere.yaml"], "cannot read nowhere.yaml: No such file or directory"),
        (["train", "--resume", "nowhere"], "cannot read nowhere/config.yaml: No such file or directory"),
        (["train", "a.yaml", "--resume", "b"], "--resume takes the configuration of b: leave a.yaml out"),
        (["train", "task.name=atlass"], "unknown task 'atlass': did you mean 'atlas'? known: atlas, "),
        (["train", "task.options.siz=5"], "task 'atlas' has no option 'siz': did you mean 'size'?"),
        (["train", "task.name=broken_tasks:missing"], "task 'broken_tasks:missing' cannot be imported: "),
        (["train", "task.name=no_such_module:task"], "task 'no_such_module:task' cannot be imported: No module named"),
        (["train", "task.name=broken_tasks:no_task"], "is a list: the function must return an aepo.Task"),
        (["train", "task.name=broken_tasks:empty"], "task 'empty' has no samples"),
        (["train", "task.name=broken_tasks:sized"], "missing a required argument: 'size'; give it as task.options"),
        (
            ["train", "task.name=broken_tasks:undocumented"],
            "tool search: argument 'limit' is not described; add 'limit: ...' under 'Args:'",
        ),
        (["train", "task.name=tests.tiny:letters", "model.path=./nowhere"], "model folder ./nowhere does not exist"),
        (["train", "rollout.template.enable_thinking=no"], "template does not read 'enable_thinking': it reads none"),
        (["train", "rollout.template.file=no.jinja"], "rollout.template.file: cannot read no.jinja: No such file"),
        (["eval", "./nowhere", "task.name=tests.tiny:letters"], "model folder ./nowhere does not exist"),
        (["eval", "atlas", "--config", "nowhere.yaml"], "cannot read nowhere.yaml: No such file or directory"),
        (["view", "nowhere"], "nowhere"),
        (["train", "--stepz", "3"], "Unrecognized options: --stepz, 3"),
        (["train", "--engine", "trl"], "engine: trl is not there any more: use engine: local to train in this process"),
        (["train", "--engine", "ray"], "engine: input should be 'local', 'vllm' or 'verl', got 'ray'"),
        (["trian"], "unknown command aepo trian: did you mean 'train'?"),
        (["tools", "idnex"], "unknown command aepo tools idnex: did you mean 'index'?"),
        (["train", "--config", "x.yaml"], "aepo train takes its file without --config: aepo train FILE"),
        (["train", "train.steps", "3"], "train.steps is a setting: write train.steps=3"),
        (["view", "a", "--prot", "3"], "Perhaps you meant"),
        (["fly"], "unknown command aepo fly: there are init, prompt, settings, train, eval,"),
        (["train", "--dry-run", "train.stepz=4"], "unknown key 'train.stepz': did you mean 'steps'?"),
        (["eval"], "Missing from aepo eval"),
        (["eval", "atlas", "--samples", "x"], "Error parsing --samples"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_creates_nothing(run: Run, tmp_path: Path, arguments: list[str], line: str) -> None:
    before = everything(tmp_path)
    assert line in bad(run(*arguments))
    assert everything(tmp_path) == before and not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["train", "eval"])
def test_a_chat_template_that_raises_is_one_line(run: Run, model_folder: Path, tmp_path: Path, command: str) -> None:
    model = shutil.copytree(model_folder, tmp_path / "raising")
    (model / "chat_template.jinja").write_text("{{ functions.x }}", encoding="utf-8")
    named = [f"model.path={model}"] if command == "train" else [str(model)]
    line = bad(run(command, *named, "task.name=tests.tiny:letters"))
    assert "the chat template cannot write this conversation ('functions' is undefined): give it what it needs" in line


def child(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(Path(aepo.__file__).parents[1]), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "aepo.cli", *arguments],
        env={**os.environ, "PYTHONPATH": paths},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_process_of_its_own_says_the_same(tmp_path: Path, model_folder: Path) -> None:
    done = child(["train", "train.stepz=4"], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "aepo: unknown key 'train.stepz': did you mean 'steps'?\n"


def test_after_the_model_was_loaded_there_is_still_one_line(tmp_path: Path, model_folder: Path) -> None:
    """Nor does a tool that never returns keep the process from its end."""
    arguments = tiny.settings(tmp_path / "run", model_folder, "task.name=broken_tasks:nan_and_stuck", "train.steps=9")
    done = child(["train", *arguments], tmp_path)
    # Its tool counts in a list, which is told first.
    warning, told = done.stderr.splitlines(keepends=True)
    assert warning.startswith("tool search may keep state: it holds the list 'calls'")
    line = bad((done.returncode, done.stdout, told))
    assert "is nan: a reward must return one finite number" in line
    assert "stopped after step 3" in line


@pytest.mark.parametrize(("task", "told"), [("nan", "nan"), ("none", "None")])
def test_a_reward_that_is_no_number_names_the_sample_and_loses_nothing(
    train: Run, run: Run, tmp_path: Path, task: str, told: str
) -> None:
    # Twelve trajectories a step: the fourth step meets the 41st.
    result = train(f"task.name=broken_tasks:{task}", "train.steps=9", "train.checkpoint_every=8")
    folder = tmp_path / "run"
    line = bad(result)
    assert line.startswith("reward of sample 'q") and f"is {told}: a reward must return one finite number" in line
    assert line.endswith(f"stopped after step 3; go on with: aepo train --resume {folder}")
    newest = checkpoint.latest(folder / "checkpoints")
    assert newest is not None and step_of(newest) == 3
    code, _out, err = run("train", "--resume", str(folder), "train.steps=4")
    assert code == 0, err


def test_a_reward_that_ends_the_program_is_told_and_loses_nothing(train: Run, tmp_path: Path) -> None:
    code, _, err = train("task.name=broken_tasks:leaving", "train.steps=9", "train.checkpoint_every=8")
    assert code == 1 and len(err.splitlines()) == 1 and "reward reward raised SystemExit: 0, of sample 'q" in err
    newest = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert newest is not None and step_of(newest) == 3


def test_a_module_that_ends_the_program_is_no_task(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a_script.py").write_text("import sys\nsys.exit(0)\n")
    code, _, err = run("train", "task.name=a_script:task")
    assert code == 2 and "cannot be imported: SystemExit" in err and len(err.splitlines()) == 1


def test_a_bug_in_a_tool_ends_with_1_and_says_where_its_trajectory_is(train: Run, tmp_path: Path) -> None:
    code, _, err = train("task.name=broken_tasks:buggy")
    assert code == 1 and len(err.splitlines()) == 1 and err.startswith("aepo: sample 'q")
    assert "tool search raised ZeroDivisionError: by nothing" in err
    (kept,) = (tmp_path / "run" / "failures").iterdir()
    assert f"the trajectory is kept in {kept}" in err
    failure = json.loads(kept.read_text())
    assert failure["sample"]["id"] in err
    calls = [call for node in TrajectoryTree.from_dict(failure["tree"]).nodes for call in node.calls]
    assert calls and all(call.name == "search" for call in calls)


def test_a_bug_in_a_tool_keeps_its_trajectory_in_an_evaluation_too(
    run: Run, tmp_path: Path, model_folder: Path
) -> None:
    code, _, err = run("eval", str(model_folder), "task.name=broken_tasks:buggy", "--questions", "3")
    assert code == 1 and len(err.splitlines()) == 1
    (kept,) = Path("evaluation/failures").iterdir()
    assert f"the trajectory is kept in {kept}" in err


def test_a_model_without_a_pad_token_says_what_to_set(train: Run, tmp_path: Path, model_folder: Path) -> None:
    bare = tmp_path / "bare"
    tiny.save_model(bare)
    words = tiny.tokenizer()
    words.pad_token = None
    words.save_pretrained(bare)
    line = bad(train(f"model.path={bare}"))
    assert "has no pad token: `model.pad_token:" in line
    assert not (tmp_path / "run").exists()
    code, _, err = train(f"model.path={bare}", "model.pad_token=<|pad|>", "train.steps=0")
    assert code == 0, err


def test_a_file_in_the_way_of_the_run_folder(train: Run, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("precious")
    assert "choose a run folder that can be written" in bad(train())
    assert (tmp_path / "run").read_text() == "precious"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_run_folder(train: Run, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    assert "choose a run folder that can be written" in bad(train(f"run={tmp_path / 'closed' / 'run'}"))


def test_a_folder_that_holds_another_run_is_left_alone(train: Run, tmp_path: Path) -> None:
    assert train()[0] == 0
    before = everything(tmp_path / "run")
    line = bad(train("seed=1"))
    assert f"holds another run: go on with aepo train --resume {tmp_path / 'run'}, or choose another" in line
    assert everything(tmp_path / "run") == before


def test_a_checkpoint_of_another_config_is_refused_and_kept(train: Run, run: Run, tmp_path: Path) -> None:
    assert train()[0] == 0
    before = everything(tmp_path / "run")
    line = bad(run("train", "--resume", str(tmp_path / "run"), "algorithm.gamma=0.3"))
    assert "algorithm.gamma was 0.2 and is now 0.3; set it back, or start another run folder" in line
    assert everything(tmp_path / "run") == before


def test_more_steps_are_allowed_and_remembered(train: Run, run: Run, tmp_path: Path) -> None:
    assert train()[0] == 0
    code, out, err = run("train", "--resume", str(tmp_path / "run"), "train.steps=2")
    assert code == 0 and "held-out success after    2 steps" in out, err
    code, out, err = run("train", "--resume", str(tmp_path / "run"))
    assert code == 0 and "2 steps, resumed after 2" in out, err


def test_a_task_may_live_in_the_folder_that_the_command_is_given_in(
    train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "my_own_task.py").write_text("from tests.tiny import letters")
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert "cannot be imported: No module named 'my_own_task'" in bad(train("task.name=my_own_task:letters"))
    monkeypatch.chdir(tmp_path / "here")
    code, _, err = train("task.name=my_own_task:letters", "train.steps=0")
    assert code == 0, err


def test_a_run_folder_may_be_called_anything(train: Run, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "a: b #1"
    assert train(f"run='{folder}'", "train.steps=0")[0] == 0
    code, _, err = run("train", "--resume", str(folder), "train.steps=1")
    assert code == 0, err
    assert checkpoint.latest(folder / "checkpoints").name == "step-000001"
    os.chdir(folder.parent)
    folder.rename("7")
    code, _, err = run("train", "--resume", "7", "train.steps=2")
    assert code == 0, err


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder on which two checkpoints have no room; made with a real file system where that is allowed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = None
    if os.geteuid() == 0:
        try:
            mounted = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(disk)], capture_output=True
            )
        except FileNotFoundError:
            mounted = None
    if mounted is not None and mounted.returncode == 0:
        yield disk
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
        return
    real, calls = torch.save, []

    def refusing(*args: object, **kwargs: object) -> None:
        calls.append(1)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(*args, **kwargs)

    monkeypatch.setattr(torch, "save", refusing)
    yield disk


def test_a_full_disk_keeps_the_last_good_checkpoint(train: Run, run: Run, small_disk: Path) -> None:
    result = train(f"run={small_disk / 'run'}", "train.steps=4", "train.checkpoint_every=1", "train.trees_every=100")
    line = bad(result)
    assert "No space left on device" in line and "the last good one, step-00000" in line and "is kept" in line
    newest = checkpoint.latest(small_disk / "run" / "checkpoints")
    assert newest is not None
    state = torch.load(newest / "optimizer.pt", weights_only=True)
    assert state["optimizer"]["state"]
    code, out, err = run("eval", str(small_disk / "run"), "--samples", "1", "--out", str(small_disk.parent / "out"))
    assert code == 0 and "Pass@1" in out, err


def test_a_dry_run_prints_the_configuration_and_the_cost_and_creates_nothing(
    run: Run, tmp_path: Path, model_folder: Path
) -> None:
    before = everything(tmp_path)
    overrides = tiny.settings(tmp_path / "run", model_folder, "rollout.questions=10", "task.options.held_out=0")
    code, out, err = run("train", *overrides, "--dry-run")
    assert code == 0 and err == "", err
    assert "group_size: 6" in out and "tau: 0.5" in out and f"run: {tmp_path / 'run'}" in out
    assert "trajectories    60 (10 questions x 6)" in out
    assert "(at most 2,400)" in out and "(at most 180)" in out, "tokens and tool calls have their limits"
    assert "optimizer steps 2" in out
    sampled = next(line.split()[2] for line in out.splitlines() if "tokens sampled" in line)
    assert 60 < int(sampled.replace(",", "")) < 2400
    assert "the run is expected to end after 5 steps" in out
    code, out, _ = run("train", *overrides, "train.max_trajectories=100", "--dry-run")
    assert code == 0 and "the run is expected to end after 2 steps" in out, "60 a step"
    assert everything(tmp_path) == before and not (tmp_path / "run").exists()


def test_a_dry_run_under_engine_vllm_says_what_samples(run: Run, tmp_path: Path, model_folder: Path) -> None:
    overrides = tiny.settings(tmp_path / "run", model_folder, "engine=vllm")
    code, out, err = run("train", *overrides, "rollout.deterministic=false", "--dry-run")
    assert code == 0, err
    assert "no vLLM server was started: the engine local sampled this trial\na step, expected from" in out
    code, _, err = run("train", *overrides, "--dry-run")
    assert code == 2 and "rollout.deterministic cannot be promised by vLLM" in err


def test_train_then_eval_then_view(train: Run, run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, out, err = train()
    assert (code, err) == (0, "")
    before, after = (line for line in out.splitlines() if line.startswith("held-out success"))
    assert "after    0 steps" in before and "after    1 steps" in after and "greedy" in after
    assert f"aepo eval {folder}" in out and f"aepo view {folder}" in out

    code, out, err = run("eval", str(folder), "--samples", "2", "--questions", "1", "--no-greedy")
    assert (code, err) == (0, "")
    assert "1 questions of letters, 2 samples each" in out and "greedy" not in out
    report = json.loads((folder / "evaluation" / "report.json").read_text())
    assert report["questions"] == 1 and report["samples"] == 2 and "eval/pass@2" in report
    (outcome,) = from_lines((folder / "evaluation" / "outcomes" / "step-000000.jsonl").read_text())
    assert outcome.passes(1) == pytest.approx(report["eval/success"]) and outcome.greedy is None
    assert [p.name for p in (folder / "evaluation" / "trees").iterdir()] == ["step-000000.jsonl.gz"]

    page = tmp_path / "trees.html"
    code, out, err = run("view", str(folder), str(folder / "evaluation"), "--export", str(page))
    assert (code, err) == (0, "") and Path(out.strip()) == page
    assert "<html" in page.read_text()
    assert "at most two can be shown" in bad(run("view", str(folder), str(folder), str(folder)))
    assert "holds no run" in bad(run("view", str(folder / "checkpoints")))
    assert "no run folder" in bad(run("view", str(tmp_path / "nowhere")))


def test_asking_no_question_is_refused(train: Run, run: Run, tmp_path: Path) -> None:
    assert train("train.steps=0")[0] == 0
    assert "no question of task 'letters'" in bad(run("eval", str(tmp_path / "run"), "--questions", "0"))
    assert "0" in bad(run("eval", str(tmp_path / "run"), "--samples", "0"))


def test_weights_that_diverged_are_a_failure_of_the_run_not_of_the_input(
    train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aepo.engines.local import generator

    def diverged(*args: object, **kwargs: object) -> None:
        raise FloatingPointError("the model gave NaN or infinite logits in 1 of 6 rows: its weights diverged")

    monkeypatch.setattr(generator, "draw", diverged)
    code, _, err = train()
    assert code == 1 and err.startswith("aepo: the model gave NaN") and len(err.splitlines()) == 1


def test_a_traceback_is_printed_if_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEPO_TRACEBACK", "1")
    code, _, err = run("train", "train.stepz=4")
    assert code == 2 and "Traceback" in err and err.splitlines()[-1].startswith("aepo: unknown key")


def test_settings_may_stand_behind_options(run: Run) -> None:
    code, out, err = run("train", "--dry-run", *tiny.settings(Path("run"), Path("atlas"), "seed=7"))
    assert code == 0 and "seed: 7" in out, err


@given(
    st.lists(st.sampled_from(["a.b=1", "seed=2", "--out", "--quick", "--no-open", "x=y", "file.yaml", "--k=v", "7"]))
)
def test_settings_come_before_options_and_keep_their_order(words: list[str]) -> None:
    found = settings_first(words, {"--quick", "--no-open"})
    assert sorted(found) == sorted(words)
    values = {at + 1 for at, word in enumerate(words) if word == "--out"}
    moved = [word for at, word in enumerate(words) if at not in values and word in ("a.b=1", "seed=2", "x=y")]
    assert [word for word in found if word in ("a.b=1", "seed=2", "x=y")][: len(moved)] == moved
    assert "--out" not in found[: len(moved)] or not moved


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0 and capsys.readouterr().out.startswith("aepo 0.")
