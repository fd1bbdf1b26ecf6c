"""`aepo solve` and `aepo.solve` with a real small model: the answer, what is kept, and one line for what is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import aepo
from aepo.cli import main
from aepo.viewer import read_trees, tree_files
from tests import tiny

ROOT = Path(__file__).parents[2]
FUNCTIONS = """
import threading
import aepo

async def first(prompt):
    return "1"

def plain(prompt):
    return "1"

def late(sample, trajectory):
    return float(ord(trajectory.answer[0])) if trajectory.answer else -1.0

@aepo.tool(name="search")
def buggy(query: str) -> str:
    '''Look something up.

    Args:
        query: What.
    '''
    raise ZeroDivisionError

class Shop:
    def reset(self, shop: str, size: int = 1) -> None:
        self.state = {"shop": shop, "size": size}

    def search(self, query: str) -> str:
        '''Look something up.

        Args:
            query: What.
        '''
        return "nothing"

def shop():
    samples = [aepo.Sample("a", metadata={"shop": "here"})]
    environment = aepo.environment(Shop, inline=True, sandboxed=True)
    return aepo.Task("shop", samples, environment=environment, reward=lambda sample, trajectory: 0.0)

@aepo.tool(name="search", timeout=600)
def stuck(query: str) -> str:
    '''Look something up.

    Args:
        query: What.
    '''
    print("asked", flush=True)
    threading.Event().wait()
"""
LIMITS = ("rollout.max_tokens=40", "rollout.max_tool_calls=3", "algorithm.group_size=6", "algorithm.entropy_window=3")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, model_folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`aepo solve QUESTION` with the tiny model and its task, in this process."""
    (tmp_path / "solve_functions.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "solve_functions", raising=False)
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str, task: bool = True) -> tuple[int, str, str]:
        capfd.readouterr()
        chosen = ("--task", "tests.tiny:letters") if task else ()
        overrides = [one for one in arguments if "=" in one and not one.startswith("-")]
        options = [one for one in arguments if one not in overrides]
        code = main(["solve", "ab", *LIMITS, *overrides, "--model", str(model_folder), *chosen, *options])
        return code, *capfd.readouterr()

    return command


def test_it_answers_by_vote_and_keeps_the_trees_for_the_viewer(run: Run, tmp_path: Path) -> None:
    code, out, err = run("--trajectories", "9", "--out", "kept")
    assert code == 0, err
    lines = out.splitlines()
    assert "tools: search, rules of aepo" in lines[0] and lines[-1] == "trees: aepo view kept"
    assert sum(" trajectories  " in line for line in lines) == 9
    solution = json.loads(Path("kept/solution.json").read_text())
    assert solution["answer"] in lines and solution["trajectories_ended"] == 9
    trees = [record.group for file in tree_files(Path("kept")) for record in read_trees(file)]
    answers = [leaf.answer for group in trees for leaf in group.tree.leaves]
    assert len(answers) == 9 and answers.count(solution["answer"]) == solution["answers"][0]["votes"]
    assert aepo.view("kept").is_file()


def test_the_same_seed_gives_the_same_answers(run: Run) -> None:
    first, second = (json.loads(run("--json", "--out", out)[1]) for out in ("one", "two"))
    assert first["answers"] == second["answers"] and first["question"] == "ab"
    other = json.loads(run("--json", "--out", "three", "seed=5")[1])
    assert other["answers"] != first["answers"]


def test_limits_rewards_and_judges_come_from_the_command_line(run: Run) -> None:
    limited = json.loads(run("--json", "--calls", "4")[1])
    assert limited["spent"]["calls"] <= 4
    paid = json.loads(
        run("model.price.prompt=1", "model.price.sampled=10", "--json", "--money", "0.001", "--out", "paid")[1]
    )
    assert 0 < paid["spent"]["money"] <= 0.001
    best = json.loads(run("--json", "--reward", "solve_functions:late", "--out", "best")[1])
    assert best["chosen_by"] == "reward" and best["answer"] == max(one["answer"] for one in best["answers"])
    judged = json.loads(run("--json", "--judge", "solve_functions:first", "--out", "judged")[1])
    assert judged["chosen_by"] == "judge"


def test_tools_are_named_one_by_one(run: Run) -> None:
    Path("facts.jsonl").write_text('{"title": "a", "text": "i"}\n')
    code, out, err = run("--tools", "search,", "--corpus", "facts.jsonl", task=False)
    assert code in (0, 1) and "tools: search," in out, err
    code, out, err = run(task=False)
    assert "tools: none" in out, err


def test_metadata_is_what_the_world_of_the_question_is_reset_with(run: Run) -> None:
    code, _, err = run("--task", "solve_functions:shop", task=False)
    assert code == 2 and "takes 'shop', which sample 'question' does not have" in err and len(err.splitlines()) == 1
    assert "--metadata shop=..." in err
    given = ("--metadata=shop=there", "--metadata=size=3", "--trajectories", "2", "--out", "kept")
    given = (*given, "rollout.max_opening_tokens=8")
    code, _, err = run("--task", "solve_functions:shop", *given, task=False)
    assert code in (0, 1), err
    trees = [record.group for file in tree_files(Path("kept")) for record in read_trees(file)]
    states = [leaf.state for group in trees for leaf in group.tree.leaves]
    assert states == [{"shop": "there", "size": 3}] * 2
    assert "cannot read 'shop'" in run("--task", "solve_functions:shop", "--metadata=shop", task=False)[2]


def test_no_answer_is_exit_code_1(run: Run) -> None:
    code, out, _ = run("--tokens", "1")
    assert code == 1 and "no answer" in out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "task", "line"),
    [
        (["--trajectories", "0"], True, "a budget of 0 trajectories: give at least 1"),
        (["--money", "1"], True, "a budget of money needs a price"),
        (["--tools", "python"], True, "--task brings its own tools"),
        (
            ["--tools", "serch"],
            False,
            "unknown tool 'serch': known: search, browse, python, or package.module:function",
        ),
        (["--tools", "search"], False, "the tool search has nothing to search: give a corpus"),
        (["--corpus", "facts.jsonl"], False, "--corpus is for the tool search: add --tools search"),
        (["--reward", "solve_functions:no"], True, "reward 'solve_functions:no' cannot be imported"),
        (["--judge", "solve_functions:plain"], True, "is no async function from a prompt to a reply"),
        (["--judge", "solve_functions:first", "--reward", "solve_functions:late"], True, "only one of them can choose"),
        (["rollout.max_tokenz=3"], True, "unknown key 'rollout.max_tokenz'"),
        (["rollout.deterministic=true", "--calls", "3"], True, "set rollout.deterministic to false"),
    ],
)
def test_what_does_not_fit_is_one_line(run: Run, arguments: list[str], task: bool, line: str) -> None:
    code, out, err = run(*arguments, task=task)
    assert code == 2 and line in err and len(err.splitlines()) == 1, (out, err)
    assert not list(Path().glob("solved/*"))


def test_a_bug_in_a_tool_is_one_line_and_the_tree_is_kept(run: Run) -> None:
    code, _, err = run("--tools", "solve_functions:buggy", "--out", "kept", task=False)
    assert code == 1 and "tool search raised ZeroDivisionError" in err
    assert list(Path("kept/failures").iterdir())


def test_a_folder_with_other_trees_is_left_alone(run: Run) -> None:
    assert run("--out", "kept")[0] == 0
    code, _, err = run("--out", "kept")
    assert code == 2 and "kept holds other trees: give another folder" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "term"])
def test_an_interrupt_votes_on_what_has_ended_and_sigterm_ends_it(
    tmp_path: Path, model_folder: Path, number: int
) -> None:
    (tmp_path / "solve_functions.py").write_text(FUNCTIONS)
    command = [sys.executable, "-m", "aepo.cli", "solve", "ab", *LIMITS, "--model", str(model_folder)]
    command += ["--tools", "solve_functions:stuck", "--out", "kept"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "PYTHONUNBUFFERED": "1"}
    # What a shell started in the background ignores Ctrl-C; this one must not.
    script = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); os.execv(*eval(sys.argv[1]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, repr((sys.executable, command))],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("asked"):
                break
        process.send_signal(number)
        rest = process.stdout.read()
        process.wait()
    if number == signal.SIGTERM:
        assert process.returncode == 143 and "ended by" not in rest
        return
    assert "ended by an interrupt" in rest and process.returncode in (0, 1)
    assert (tmp_path / "kept" / "solution.json").is_file()


def test_the_python_function_takes_a_policy_once_for_many_questions(model_folder: Path) -> None:
    policy = aepo.load_policy(str(model_folder))
    config = aepo.load_config(None, list(LIMITS))
    task = tiny.letters()
    solutions = [aepo.solve(policy, question, task=task, config=config) for question in ("ab", "cd")]
    assert all(isinstance(one, aepo.Solution) and one.ended == 8 for one in solutions)
    alone = aepo.solve(policy, "ab", [tiny.search], config=config, algorithm=aepo.GRPO(group_size=2))
    assert [len(group.tree.leaves) for group in alone.groups] == [2, 2, 2, 2]


def test_the_python_function_refuses_what_it_cannot_ask(model_folder: Path) -> None:
    with pytest.raises(ValueError, match="the question is empty"):
        aepo.solve(str(model_folder), " ")
    with pytest.raises(ValueError, match="brings its own tools"):
        aepo.solve(str(model_folder), "ab", [tiny.search], task=tiny.letters())
