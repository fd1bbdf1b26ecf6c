"""`aepo compare` as it is called: what it leaves behind, how it goes on, and one line for whatever is wrong."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aepo
from aepo import config as configuration
from aepo.cli import main
from aepo.comparison import figures
from aepo.equipment.models import BUILT_IN_MODELS
from aepo.evaluation.outcomes import from_lines
from aepo.rollout.explorer import executed_calls
from aepo.runs import checkpoint
from aepo.runs.begun import locked
from aepo.runs.folder import RunFolder, RunFolderError
from aepo.runs.metrics import read_metrics
from aepo.viewer import read_trees, tree_files
from tests.comparison import staged
from tests.instructions.writer import writing
from tests.kept import comparable

ROOT = Path(__file__).parents[2]
TWO = ["algorithms=grpo,aepo", "seeds=0,1"]

Compare = Callable[..., tuple[int, str, str]]


def command(*arguments: str) -> tuple[int, str, str]:
    """In this process: exit code, output, errors."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(["compare", *arguments])
    return code, out.getvalue(), err.getvalue()


def found(folder: Path) -> dict[str, tuple[Any, Any]]:
    """What each run of a comparison came to: its metrics without clocks, and every evaluation's outcomes."""
    return {
        run.name: (
            [comparable(row) for row in read_metrics(run / "metrics.jsonl")],
            {path.name: path.read_text() for path in (run / "outcomes").iterdir()},
        )
        for run in (folder / "runs").iterdir()
    }


def times(folder: Path) -> dict[Path, int]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> tuple[Path, str]:
    """A comparison of two algorithms and two seeds, and what it printed."""
    folder = tmp_path_factory.mktemp("whole") / "comparison"
    code, out, err = command(*staged.settings(folder, model_folder, *TWO))
    assert (code, err) == (0, ""), err
    return folder, out


def test_it_leaves_ordinary_runs_a_table_and_figures(whole: tuple[Path, str]) -> None:
    folder, out = whole
    names = ["aepo-seed-0", "aepo-seed-1", "grpo-seed-0", "grpo-seed-1"]
    assert sorted(path.name for path in (folder / "runs").iterdir()) == names
    for name in names:
        run = folder / "runs" / name
        config = configuration.load(run / "config.yaml")
        assert name == f"{config.algorithm.name}-seed-{config.seed}" and config.train.max_trajectories == 24
        assert [len(o.sampled) for o in from_lines((run / "outcomes" / "step-000002.jsonl").read_text())] == [2, 2]
        assert checkpoint.latest(run / "checkpoints") is not None
        assert "step 2/2" in (folder / "logs" / f"{name}.log").read_text()
    report = json.loads((folder / "comparison.json").read_text())
    assert [row["label"] for row in report["rows"]] == ["grpo", "aepo"] and report["failed"] == []
    assert report["rows"][1]["costs"]["trajectories"]["mean"] == 24
    text = (folder / "comparison.md").read_text()
    assert "| aepo | Pass@1 |" in text and "Budget of each run: 24 trajectories" in text
    assert "Pass@2" in out and "executed calls" in out and f"kept in {folder}" in out
    drawn = {path.name for path in (folder / "figures").iterdir() if path.stat().st_size > 3_000}
    for figure in ("success_by_tokens_sampled", "success_by_executed_calls", "policy_entropy", "clip_fractions"):
        assert {f"{figure}.png", f"{figure}.svg"} <= drawn
    for figure in ("branch_concentration", "diversity", "high_entropy_runs", "global_samples"):
        assert {f"{figure}.png", f"{figure}.svg"} <= drawn


def test_the_table_is_that_of_the_runs(whole: tuple[Path, str]) -> None:
    folder, _ = whole
    for row in json.loads((folder / "comparison.json").read_text())["rows"]:
        last = [read_metrics(folder / "runs" / f"{row['label']}-seed-{seed}" / "metrics.jsonl")[-1] for seed in (0, 1)]
        assert row["success"]["Pass@1"]["mean"] == pytest.approx(sum(r["eval/success"] for r in last) / 2)
        assert row["success"]["greedy"]["mean"] == pytest.approx(sum(r["eval/greedy"] for r in last) / 2)


def test_a_task_with_an_environment_is_compared_and_forks_cost_nothing_of_the_budget(
    tmp_path: Path, model_folder: Path
) -> None:
    given = ["task.name=tests.comparison.staged:worlds", "algorithms=grpo,aepo", "seeds=0", "algorithm.tau=0"]
    code, _, err = command(*staged.settings(tmp_path / "both", model_folder, *given), "--no-figures")
    assert (code, err) == (0, "")
    replayed = {}
    for name in ("grpo", "aepo"):
        run = tmp_path / "both" / "runs" / f"{name}-seed-0"
        rows = read_metrics(run / "metrics.jsonl")
        groups = [record.group for path in tree_files(run) for record in read_trees(path)]
        assert all(leaf.reward == leaf.outcome for group in groups for leaf in group.tree.leaves)
        executed = sum(executed_calls(group.tree) for group in groups)
        assert max(row.get("budget/executed_calls", 0.0) for row in rows) == executed > 0
        replayed[name] = sum(row.get("environment/replayed_calls", 0.0) for row in rows)
        assert sum(row.get("environment/refused", 0.0) for row in rows) == 0
    assert replayed["aepo"] > replayed["grpo"] == 0
    rows = json.loads((tmp_path / "both" / "comparison.json").read_text())["rows"]
    assert {row["label"]: row["costs"]["trajectories"]["mean"] for row in rows} == {"grpo": 24, "aepo": 24}


def test_a_second_call_keeps_what_is_finished_and_adds_what_is_new(whole: tuple[Path, str], model_folder: Path) -> None:
    folder, _ = whole
    before = times(folder / "runs")
    more = ["algorithms=grpo,aepo,aepo-random", "seeds=0,1"]
    code, out, err = command(*staged.settings(folder, model_folder, *more), "--no-figures")
    assert (code, err) == (0, "") and "4 of 6 runs are finished and kept" in out
    assert {path: mtime for path, mtime in times(folder / "runs").items() if path in before} == before
    assert "aepo-random" in (folder / "comparison.md").read_text()


def test_a_run_that_was_stopped_before_its_last_evaluation_is_evaluated(
    whole: tuple[Path, str], tmp_path: Path, model_folder: Path
) -> None:
    folder = tmp_path / "comparison"
    shutil.copytree(whole[0], folder)
    run = folder / "runs" / "aepo-seed-1"
    rows = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    assert json.loads(rows[-1])["eval/success"] is not None
    (run / "metrics.jsonl").write_text("".join(rows[:-1]))
    (run / "outcomes" / "step-000002.jsonl").unlink()
    code, out, err = command(*staged.settings(folder, model_folder, *TWO))
    assert (code, err) == (0, "") and "3 of 4 runs are finished and kept" in out
    again = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    same = {name for name in again if name.startswith("eval/") and "seconds" not in name}
    assert {name: again[name] for name in same} == {name: json.loads(rows[-1])[name] for name in same}


def test_finished_runs_need_no_checkpoints(whole: tuple[Path, str], tmp_path: Path, model_folder: Path) -> None:
    folder = tmp_path / "comparison"
    shutil.copytree(whole[0], folder, ignore=shutil.ignore_patterns("checkpoints", "trees", "logs"))
    before = times(folder / "runs")
    code, out, err = command(*staged.settings(folder, model_folder, *TWO), "--no-figures")
    assert (code, err) == (0, "") and "4 of 4 runs are finished and kept" in out
    assert times(folder / "runs") == before

    (folder / "runs" / "grpo-seed-0" / "outcomes" / "step-000002.jsonl").unlink()
    code, out, err = command(*staged.settings(folder, model_folder, *TWO), "--no-figures")
    assert (code, err) == (0, "") and "3 of 4 runs are finished and kept" in out
    assert found(folder) == found(whole[0])


def test_results_do_not_depend_on_how_many_run_at_once(
    whole: tuple[Path, str], tmp_path: Path, model_folder: Path
) -> None:
    code, _, err = command(*staged.settings(tmp_path / "c", model_folder, *TWO), "--jobs", "3", "--no-figures")
    assert (code, err) == (0, "")
    one, other = found(whole[0]), found(tmp_path / "c")
    assert {name: one[name] for name in other} == other


class Child:
    """The command in a process of its own, stopped in the first call of a tool."""

    def __init__(self, gate: Path, *arguments: str) -> None:
        gate.touch()
        paths = os.pathsep.join([str(Path(aepo.__file__).parents[1]), str(ROOT)])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "aepo.cli", "compare", *arguments],
            env={**os.environ, "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while not Path(f"{gate}.here").exists():
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)


def wait_until_nobody_writes(run: Path) -> None:
    for _ in range(1000):
        try:
            with locked(RunFolder(run)):
                return
        except RunFolderError:
            time.sleep(0.02)
    raise AssertionError(f"{run} is still written")


def gated(folder: Path, gate: Path, model: Path) -> list[str]:
    more = ["task.name=tests.comparison.staged:gated", f"task.options.gate={gate}", "algorithms=grpo", "seeds=0,1"]
    return staged.settings(folder, model, *more, "--no-figures")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """A comparison whose tool never waited."""
    folder = tmp_path_factory.mktemp("undisturbed")
    code, _, err = command(*gated(folder / "comparison", folder / "gate", model_folder))
    assert (code, err) == (0, "")
    return folder / "comparison"


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=["Ctrl-C", "term", "killed"])
def test_a_comparison_that_was_stopped_goes_on_as_if_it_had_not_been(
    undisturbed: Path, tmp_path: Path, model_folder: Path, number: int
) -> None:
    gate, folder = tmp_path / "gate", tmp_path / "stopped"
    child = Child(gate, *gated(folder, gate, model_folder))
    child.process.send_signal(number)
    out, err = child.process.communicate()
    if number != signal.SIGKILL:
        assert child.process.returncode == 128 + number and "stopping, each run with a checkpoint" in out
        assert "Traceback" not in err
    wait_until_nobody_writes(folder / "runs" / "grpo-seed-0")
    assert not (folder / "comparison.md").exists()
    gate.unlink()
    code, out, err = command(*gated(folder, gate, model_folder))
    assert (code, err) == (0, "") and "grpo, seed 0: goes on" in out and "grpo, seed 1: starts" in out
    assert found(folder) == found(undisturbed)


def test_more_steps_for_a_budget_that_they_did_not_reach_go_on(tmp_path: Path, model_folder: Path) -> None:
    budget = ["algorithms=grpo", "seeds=0", "budget.kind=executed_calls", "budget.amount=40", "--no-figures"]
    code, out, _ = command(*staged.settings(tmp_path / "c", model_folder, "train.steps=1", *budget))
    assert code == 0 and "grpo (seed 0) made all its train.steps before its budget was used" in out
    code, out, err = command(*staged.settings(tmp_path / "c", model_folder, "train.steps=9", *budget))
    assert (code, err) == (0, "") and "grpo, seed 0: goes on" in out and "made all its train.steps" not in out
    last = read_metrics(tmp_path / "c" / "runs" / "grpo-seed-0" / "metrics.jsonl")[-1]
    assert 1 < last["step"] < 9


def test_what_instructions_cost_is_in_the_budget_of_a_comparison(tmp_path: Path, model_folder: Path) -> None:
    with writing("ij") as writer:
        told = {
            "enabled": True,
            "texts": ["ab cd"],
            "credit": "step",
            "every": 1,
            "min_groups": 1,
            "verify_questions": 2,
            "max_tokens": 24,
            "writer": writer.url,
        }
        evolving = json.dumps({"label": "evolving", "overrides": {f"instructions.{k}": v for k, v in told.items()}})
        settings = [f"entries=[grpo, {evolving}]", "seeds=0", "budget.amount=40", "train.steps=9", "--no-figures"]
        code, _, err = command(*staged.settings(tmp_path / "c", model_folder, *settings))
    assert (code, err) == (0, ""), err
    rows = {run.name: read_metrics(run / "metrics.jsonl") for run in (tmp_path / "c" / "runs").iterdir()}
    tried = sum(row.get("instruction/tried_trajectories", 0) for row in rows["evolving-seed-0"])
    last = {name: [row for row in found if "budget/trajectories" in row][-1] for name, found in rows.items()}
    assert last["grpo-seed-0"]["budget/trajectories"] == 4 * 12
    assert last["evolving-seed-0"]["budget/trajectories"] == 3 * 12 + tried > 3 * 12
    assert "evolving" in (tmp_path / "c" / "comparison.md").read_text()


def test_a_run_that_fails_stops_no_other_and_ends_with_1(tmp_path: Path, model_folder: Path) -> None:
    broken = "entries=[grpo, {label: broken, overrides: {model.path: ./nowhere}}]"
    arguments = [*staged.settings(tmp_path / "c", model_folder, broken, "seeds=0,1"), "--no-figures"]
    code, out, err = command(*arguments)
    assert code == 1 and len(err.splitlines()) == 1
    assert err.startswith("aepo: 2 of 4 runs failed, the first of them broken, seed 0: model folder ./nowhere does not")
    assert "broken, seed 1: failed: model folder ./nowhere" in out and "grpo, seed 1: done" in out
    text = (tmp_path / "c" / "comparison.md").read_text()
    assert "| grpo | 2 |" in text and "Failed: broken, seed 1: model folder ./nowhere does not exist" in text
    assert "Traceback" in (tmp_path / "c" / "logs" / "broken-seed-0.log").read_text()


def bad(result: tuple[int, str, str]) -> str:
    """The one line of a refused command."""
    code, _, err = result
    assert code == 2 and len(err.splitlines()) == 1 and err.startswith("aepo: "), err
    return err.removeprefix("aepo: ").strip()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["algorithms=grpo,aepoo"], "unknown algorithm or ablation 'aepoo': did you mean 'aepo'?"),
        (["--seeds", "0,0"], "seeds: seed 0 comes twice"),
        (["budget.amount=3"], "budget.amount is 3, less than one group of 6"),
        (["entries=[{label: a, overrides: {task.name: x}}]"], "entry 'a' sets task.name: the entries would have diff"),
        (["--jobs", "0"], "--jobs is 0: 1 or more runs at once"),
        (["task.options.held_out=0"], "has no held-out questions: a comparison measures on them"),
        (["task.name=atlass"], "unknown task 'atlass': did you mean 'atlas'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_creates_nothing(
    tmp_path: Path, model_folder: Path, arguments: list[str], line: str
) -> None:
    assert line in bad(command(*staged.settings(tmp_path / "c", model_folder, *arguments)))
    assert not (tmp_path / "c").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "cannot read nowhere.yaml: No such file or directory" in bad(command("nowhere.yaml"))


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("rollout.temperature=0.9", "rollout.temperature was 1.0 and is now 0.9"),
        ("budget.amount=36", "train.max_trajectories was 24 and is now 36"),
        ("evaluation.samples=3", "evaluation.samples was 2 and is now 3"),
        ("entries=[{label: aepo, overrides: {algorithm.tau: 0.7}}]", "aepo, seed 0: algorithm.tau was 0.5 and is now"),
    ],
)
def test_a_folder_that_holds_another_comparison_is_left_alone(
    whole: tuple[Path, str], model_folder: Path, override: str, line: str
) -> None:
    before = times(whole[0])
    told = bad(command(*staged.settings(whole[0], model_folder, "seeds=0,1", override)))
    assert told.startswith(f"{whole[0]} holds another comparison") and line in told
    assert times(whole[0]) == before


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path, model_folder: Path) -> None:
    (tmp_path / "precious.txt").write_text("x")
    assert "holds something else than a comparison" in bad(command(*staged.settings(tmp_path, model_folder)))


def test_figures_without_matplotlib_are_refused_before_anything_runs(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures.importlib.util, "find_spec", lambda name: None)
    line = bad(command(*staged.settings(tmp_path / "c", model_folder)))
    assert "figures need matplotlib" in line and "--no-figures" in line and not (tmp_path / "c").exists()


@pytest.mark.skipif(
    not (BUILT_IN_MODELS["atlas"] / "model.safetensors").is_file(), reason="the small model is not in this copy"
)
def test_quick_works_with_nothing_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = command("--quick")
    assert (code, err) == (0, "") and "Pass@5" in out
    folder = Path("runs/comparison-quick")
    assert len(list((folder / "runs").iterdir())) == 4 and (folder / "comparison.md").is_file()
    assert len(list((folder / "figures").iterdir())) == 16
