import json
import os
import subprocess
import sys

import pytest

from aepo.files.whole import write_whole
from aepo.runs.begun import begun, drop_after
from aepo.runs.failures import save_failure
from aepo.runs.folder import RunFolder, RunFolderError
from aepo.runs.records import read_trees
from aepo.runs.trees import save_trees
from aepo.runs.versions import environment
from aepo.training.trackers import JsonlTracker
from aepo.types import Group, Kind, Leaf, Origin, Sample, StopReason, ToolResult, TrajectoryTree

CONFIG = {"algorithm": {"name": "aepo", "tau": 0.6}, "seed": 3, "task": "ätlas", "tools": ["search"]}


def a_run(path, config=CONFIG):
    """The folder of a run that has begun, and that nobody writes."""
    with begun(path, config, environment(), {"named": True}) as folder:
        return folder


def a_group(name="train/7"):
    tree = TrajectoryTree(gap=0.1 + 0.2, global_samples=1)
    prompt = tree.add(None, Kind.PROMPT, [1, 2], 0)
    policy = tree.add(prompt.id, Kind.POLICY, [3, 4], 0)
    policy.logprobs, policy.entropies = [-0.1, -1 / 3], [0.5, 2 / 3]
    seen = tree.add(policy.id, Kind.OBSERVATION, [5], 0)
    seen.results = (ToolResult("a lone \ud800 surrogate", seconds=0.25),)
    tree.leaves.append(Leaf(0, policy.id, Origin.PROBE, StopReason.ANSWER, "x", reward=1.0))
    return Group(Sample("Wer? \u2028", ["a", "b"], name, {"hops": 2}), tree)


def words(tokens):
    return "".join(f"<{token}>" for token in tokens)


def test_a_new_run_says_what_it_is_run_with(tmp_path):
    a_run(tmp_path / "runs" / "a")
    folder = RunFolder(tmp_path / "runs" / "a")
    assert folder.config() == CONFIG
    assert list(folder.config()) == list(CONFIG)
    versions = folder.read_json("versions.json")
    assert versions["python"] == sys.version.split()[0]
    assert {"torch", "transformers", "aepo-rl"} <= versions["packages"].keys()
    assert versions["cpu_count"] == os.cpu_count()
    assert folder.trees.is_dir() and folder.checkpoints.is_dir() and folder.metrics_file.exists()


def test_the_git_revision_is_that_of_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment()["git"] is None
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    (tmp_path / "file").write_text("1")
    for command in (["init", "-q"], ["add", "file"], [*identity, "commit", "-qm", "first"]):
        if subprocess.run(["git", *command], capture_output=True).returncode:
            pytest.skip("no usable git")
    clean = environment()["git"]
    assert len(clean) == 40
    (tmp_path / "file").write_text("2")
    assert environment()["git"] == clean + "+"


def test_another_run_is_never_written_over(tmp_path):
    folder = a_run(tmp_path / "a")
    tracker = JsonlTracker(folder.metrics_file)
    tracker.log(1, {"reward/mean": 0.5})
    tracker.close()
    with pytest.raises(
        RunFolderError, match=r"a holds another run: go on with aepo train --resume .* or choose another"
    ):
        a_run(tmp_path / "a", {"seed": 4})
    assert folder.config() == CONFIG


def test_a_run_that_failed_before_its_first_step_leaves_the_name_free(tmp_path):
    a_run(tmp_path / "a")
    assert a_run(tmp_path / "a", {"seed": 4}).config() == {"seed": 4}


def test_what_holds_no_run_is_not_opened(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RunFolderError, match=r"no run in .*: it has no config\.yaml"):
            RunFolder(path).config()
    (tmp_path / "config.yaml").write_text("- a\n- [")
    with pytest.raises(ValueError, match=r"config\.yaml is not YAML") as caught:
        RunFolder(tmp_path).config()
    assert "\n" not in str(caught.value)


def test_steps_and_evaluations_are_told_apart(tmp_path):
    folder = a_run(tmp_path / "a")
    tracker = JsonlTracker(folder.metrics_file)
    tracker.log(0, {"eval/success": 0.25})
    tracker.log(1, {"budget/trajectories": 8.0})
    tracker.log(1, {"eval/success": 0.5})
    assert folder.steps() == [{"step": 1, "budget/trajectories": 8.0}]
    assert [(row["step"], row["eval/success"]) for row in folder.evaluations()] == [(0, 0.25), (1, 0.5)]
    assert RunFolder(tmp_path / "none").steps() == RunFolder(tmp_path / "none").evaluations() == []


def test_a_json_file_is_an_object_or_missing_or_named(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.read_json("task.json") is None and folder.task() == {}
    for text in ("{half", "[1]"):
        (tmp_path / "task.json").write_text(text)
        with pytest.raises(ValueError, match=r"cannot read .*task\.json"):
            folder.task()


SECOND = """
import sys
from pathlib import Path
from aepo.runs.begun import begun, locked
from aepo.runs.folder import RunFolder, RunFolderError
path = Path(sys.argv[2])
try:
    with begun(path, {}, {}, {}) if sys.argv[1] == "begun" else locked(RunFolder(path)):
        print("ok")
except RunFolderError as error:
    print(error)
"""


def in_another_process(how, path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SECOND, how, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()


def test_two_processes_never_write_one_run(tmp_path):
    with begun(tmp_path / "a", CONFIG, {}, {}) as folder:
        for how in ("begun", "locked"):
            assert "another process is writing" in in_another_process(how, folder.path)
        assert folder.config() == CONFIG
    assert in_another_process("locked", folder.path) == "ok"


def test_a_path_that_cannot_be_a_folder_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run", tmp_path / ("x" * 300)):
        with pytest.raises(RunFolderError, match=r"cannot write .*choose a run folder that can be written") as caught:
            a_run(path)
        assert "\n" not in str(caught.value)


def test_a_read_only_folder_is_one_clear_line(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(RunFolderError, match="Permission denied"):
        a_run(tmp_path / "a")


def test_trees_come_back_from_the_viewer_as_they_were(tmp_path):
    folder = a_run(tmp_path / "a")
    groups = [a_group("one"), a_group("two")]
    path = save_trees(folder, 10, groups, words)
    assert folder.tree_files() == {10: path}
    records = list(read_trees(path))
    assert [(record.step, record.group) for record in records] == [(10, group) for group in groups]
    assert records[0].texts == [["<1>", "<2>"], ["<3>", "<4>"], ["<5>"]]


def test_equal_trees_give_equal_files(tmp_path):
    folder = a_run(tmp_path / "a")
    first = save_trees(folder, 1, [a_group()], words).read_bytes()
    assert save_trees(folder, 1, [a_group()], words).read_bytes() == first
    assert [p.name for p in folder.trees.iterdir()] == ["step-000001.jsonl.gz"]


def test_resuming_drops_the_trees_that_come_again(tmp_path):
    folder = a_run(tmp_path / "a")
    for step in (5, 10, 15):
        save_trees(folder, step, [a_group()], words)
    (folder.trees / ".tmp-step-000015.jsonl.gz-7").write_bytes(b"half")
    drop_after(folder, 10)
    assert list(folder.tree_files()) == [5, 10] and len(list(folder.trees.iterdir())) == 2


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    write_whole(tmp_path / "file", b"old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "file", b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("file", b"old")]
    folder = RunFolder(tmp_path)
    with pytest.raises(RunFolderError, match=r"cannot write .*step-000001\.jsonl\.gz: No space left on device"):
        save_trees(folder, 1, [a_group()], words)


def test_failures_are_kept_side_by_side_under_safe_names(tmp_path):
    folder = a_run(tmp_path / "a")
    group = a_group("../../etc/passwd")
    group.tree.leaves.clear()
    first, second = save_failure(folder, group, "ZeroDivisionError"), save_failure(folder, group, "again")
    assert first != second and first.parent == second.parent == folder.failures
    data = json.loads(first.read_text())
    assert data["error"] == "ZeroDivisionError"
    assert TrajectoryTree.from_dict(data["tree"]) == group.tree
    assert save_failure(folder, Group(Sample("q"), TrajectoryTree()), "x").name == "sample-1.json"
