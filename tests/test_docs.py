"""Every command and every block of code in README, docs and the other pages is run, or says why it is not.

The blocks of a page are run in their order, in one folder and one Python. A training that would take long is shortened
in `shortened`, not by other words in the command; only `aepo solve`, `aepo doctor`, `aepo bench` and
`aepo eval` of data sets are given limits.
"""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from aepo import cli
from aepo import config as configuration
from aepo.config import Config
from aepo.tasks.datasets import NAMES as DATA_SETS
from tests import reader
from tests.fenced import Block, blocks, remarks

ROOT = Path(__file__).parents[1]
OTHERS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
PAGES = [*OTHERS, *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]
RUN = ("bash", "python", "yaml", "json")
# Output, formulas, trees of folders.
SHOWN = ("text",)
# Trajectories that a run of the documentation may sample as it is.
AFFORDABLE = 400
# What `aepo doctor` measures is then small.
FEW = [
    "train.threads=1",
    "algorithm.group_size=4",
    "rollout.max_sequences=8",
    "rollout.max_tokens=64",
    "train.micro_batch_tokens=256",
]

# And what `aepo bench` measures.
SHORT = ["--rows", "1", "2", "--prompt", "8", "--tokens", "8"]


def page_blocks(page: str) -> list[Block]:
    return blocks((ROOT / page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is_and_why_it_is_not_run(page: str) -> None:
    found = page_blocks(page)
    unknown = [f"{page}:{one.line}: {one.language!r}" for one in found if one.language not in (*RUN, *SHOWN)]
    assert not unknown, f"a block is one of {', '.join((*RUN, *SHOWN))}: {unknown}"
    excused = [one for one in found if one.not_run is not None]
    assert all(len(str(one.not_run).split()) >= 3 for one in excused), "a reason has at least three words"
    assert all(one.language in RUN for one in excused), "what is only shown needs no reason"
    text = (ROOT / page).read_text(encoding="utf-8")
    # CONTRIBUTING quotes the remark.
    assert remarks(re.sub(r"`[^`\n]*`", "", text)) == len(excused), "a remark stands right before its block"


def executed(page: str) -> list[Block]:
    return [one for one in page_blocks(page) if one.language in RUN and one.not_run is None]


@pytest.mark.parametrize("page", [page for page in PAGES if executed(page)])
def test_the_blocks_of_a_page_run(
    page: str, desk: Path, finished_run: Path, shortened: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    # So does `python` with the folder that it is started in.
    monkeypatch.syspath_prepend(str(desk))
    names: dict[str, Any] = {"__name__": "__main__"}
    for name, value in reader.ENVIRONMENT.get(page, {}).items():
        monkeypatch.setenv(name, value)
    exec(compile(reader.NAMES.get(page, ""), "names", "exec"), names)
    made = "".join(one.text for one in executed(page))
    for run in reader.runs_named(made):
        if f"run=runs/{run}" not in made:
            shutil.copytree(finished_run, desk / "runs" / run)
    before = set(sys.modules)
    try:
        for block in executed(page):
            try:
                carry_out(block, names)
            except BaseException as error:
                error.add_note(f"{page}, line {block.line}")
                raise
    finally:
        # Two pages may have a module of one name.
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(desk)):
                del sys.modules[name]


def carry_out(block: Block, names: dict[str, Any]) -> None:
    if block.language == "json":
        json.loads(block.text)
    elif block.language == "yaml":
        read_settings(block.text)
    elif block.language == "bash":
        for words in block.commands:
            run_command(words)
    elif block.file is not None:
        Path(block.file).write_text(block.text, encoding="utf-8")
        importlib.invalidate_caches()
        importlib.import_module(Path(block.file).stem)
    else:
        run_python(block.text, names)


def run_python(text: str, names: dict[str, Any]) -> None:
    for word, other in {**reader.INSTEAD, **reader.SHORTER}.items():
        text = text.replace(f'"{word}"', f'"{other}"') if word in reader.INSTEAD else text.replace(word, other)
    # A tool's source is read for its hints: it needs a file.
    path = Path(f"block_{len(list(Path().glob('block_*.py')))}.py")
    path.write_text(text, encoding="utf-8")
    exec(compile(text, str(path.resolve()), "exec"), names)


def read_settings(text: str) -> None:
    from aepo.comparison import plan

    path = Path("settings.yaml")
    path.write_text(text, encoding="utf-8")
    if "entries" in configuration.read(path):
        assert plan.plan(plan.load(path), quick=False).runs
    else:
        assert configuration.load(path)


def run_command(words: list[str]) -> None:
    words = [reader.INSTEAD.get(word, word) for word in words]
    program, *arguments = words
    runners: dict[str, Callable[[list[str]], None]] = {
        "aepo": run_aepo,
        "make": run_make,
        "pip": run_pip,
        "python": run_program,
        "tail": lambda rest: run_program(rest, "tail"),
    }
    assert program in runners, f"nobody knows how to run {program}: teach tests/test_docs.py, or say why it is not run"
    runners[program](arguments)


class Planned(BaseException):
    """A comparison was planned, and its runs would begin."""


def run_aepo(arguments: list[str]) -> None:
    if arguments[:1] == ["eval"] and arguments[1].split(",")[0] in DATA_SETS:
        arguments = evaluation_of_a_file(arguments)
    if arguments[:1] == ["solve"] and "--trajectories" not in arguments:
        arguments = [*arguments, "--trajectories", "2"]
    if arguments[:1] == ["doctor"] and arguments[1:] and not arguments[1].startswith("--"):
        arguments = [*arguments[:2], *FEW, *arguments[2:]]
    if arguments[:1] == ["bench"]:
        arguments = [*arguments[:2], "train.threads=1", *arguments[2:], *SHORT]
    try:
        code = cli.main(arguments)
    except Planned:
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    # 1 is an answer too: something is missing on this machine; the trajectories found nothing.
    assert code == 0 or (code == 1 and arguments[0] in ("doctor", "solve")), f"aepo {arguments} ended with {code}"


def evaluation_of_a_file(arguments: list[str]) -> list[str]:
    """An evaluation on a data set that asks no hub, in a folder of its own; one to be resumed is begun first."""
    if "--data" not in arguments:
        arguments = [*arguments, "--data", "data"]
    # Short answers: the model of the package was never trained on such questions, and does not end.
    out = [*arguments[:2], "rollout.max_tokens=32", *arguments[2:]]
    out += ["--out", f"evaluations/{len(list(Path().glob('evaluations/*')))}"]
    if "--resume" in arguments:
        assert cli.main([one for one in out if one != "--resume"]) == 0
    return out


def run_make(arguments: list[str]) -> None:
    """Only that there is such a target: `make test` runs this test."""
    subprocess.run(["make", "-n", *arguments], cwd=ROOT, check=True, capture_output=True)


def run_pip(arguments: list[str]) -> None:
    """Only that there are such extras: nothing is installed."""
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert arguments[0] == "install"
    for extras in re.findall(r"^aepo-rl\[(.*)\]$", "\n".join(arguments), re.MULTILINE):
        assert set(extras.split(",")) <= known.keys(), f"no such extra: {extras}"


def run_program(arguments: list[str], program: str = sys.executable) -> None:
    subprocess.run([program, *arguments], check=True, capture_output=True, timeout=120)


def little(config: Config, resume: bool = False) -> Config:
    """A configuration whose run takes seconds, if its own would take longer."""
    if config.train.steps * config.rollout.questions * config.algorithm.group_size <= AFFORDABLE:
        return config
    return config.model_copy(
        update={
            "algorithm": config.algorithm.model_copy(update={"group_size": 4}),
            "rollout": config.rollout.model_copy(update={"questions": 2, "max_tokens": 128}),
            "train": config.train.model_copy(
                update={"steps": 2 if resume else 1, "minibatches": 1, "threads": 1, "trees_every": 1, "trackers": []}
            ),
            "evaluation": config.evaluation.model_copy(update={"questions": 2, "samples": 2}),
        }
    )


@pytest.fixture
def shortened(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trainings and evaluations are shorter, servers end at once, comparisons are planned and not trained.

    Sandboxes are probed once a page.
    """
    from aepo import api, start
    from aepo.comparison import runner
    from aepo.tools.sandbox import choose
    from aepo.viewer import server

    whole, measure = api.train_task, api.evaluate

    def train_task(config: Config, task: Any, resume: bool = False, **named: Any) -> Any:
        return whole(replace_threads(little(config, resume)), task, resume=resume, **named)

    def evaluate(policy: Any, task: Any, samples: int = 5, greedy: bool = True, *rest: Any, **named: Any) -> Any:
        few = replace(task, samples=task.samples[:2], held_out=task.held_out[:2])
        if rest and rest[0] is not None:
            rest = (list(rest[0])[:2], *rest[1:])
        return measure(policy, few, samples, greedy, *rest, **named)

    def planned(plan: Any, jobs: int, say: Any) -> Any:
        assert plan.runs
        raise Planned

    for module in (api, start):
        monkeypatch.setattr(module, "train_task", train_task)
    monkeypatch.setattr(api, "evaluate", evaluate)
    monkeypatch.setattr(choose, "verdicts", cache(choose.verdicts))
    monkeypatch.setattr(runner, "carry_out", planned)
    monkeypatch.setattr(server, "serve", lambda sources, at, *rest: at.close())
    yield


def replace_threads(config: Config) -> Config:
    return config.model_copy(update={"train": config.train.model_copy(update={"threads": config.train.threads or 1})})


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step, with an evaluation in it."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    small = ["rollout.questions=2", "algorithm.group_size=4", "train.steps=1", "train.minibatches=1"]
    small += ["train.threads=1", "evaluation.questions=2", "evaluation.samples=2", "train.trackers=[]"]
    assert cli.main(["train", "quickstart", *small, f"run={folder}"]) == 0
    assert cli.main(["eval", str(folder), "--questions", "2", "--samples", "2"]) == 0
    # The quickstart keeps trees until step 60.
    shutil.copy(folder / "trees" / "step-000001.jsonl.gz", folder / "trees" / "step-000060.jsonl.gz")
    return folder


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """The folder of someone who reads the documentation."""
    reader.settle(tmp_path)
    return tmp_path
