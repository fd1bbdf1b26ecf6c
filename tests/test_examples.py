"""Every example runs as it is, only shorter, and does what it says."""

from __future__ import annotations

import ast
import importlib.util
import math
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aepo.assembly.policies import load_policy
from aepo.core import advantages, branching, budget, losses
from aepo.core.scale import EntropyScale
from aepo.equipment.models import BUILT_IN_MODELS

FOLDER = Path(__file__).parents[1] / "examples"
steady = settings(deadline=None, derandomize=True)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = example
    spec.loader.exec_module(example)
    return example


ONE_FILE = load("aepo_in_one_file")


def imported(name: str) -> set[str]:
    """The modules that an example imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((FOLDER / f"{name}.py").read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module))
    return found


def test_every_example_is_tested_here() -> None:
    tested = {"01_own_task", "02_parts_in_your_loop", "03_under_trl", "04_ask_your_documents", "aepo_in_one_file"}
    tested |= {"05_use_a_served_model"}  # tests/test_served_example.py
    assert {path.stem for path in FOLDER.glob("*.py")} == tested


def test_a_task_and_a_tool_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (BUILT_IN_MODELS["atlas"] / "model.safetensors").is_file():
        pytest.skip("the small model is not in this copy: `aepo warmstart src/aepo/models/atlas` makes it")
    monkeypatch.chdir(tmp_path)
    load("01_own_task").main(steps=1)
    out = capsys.readouterr().out
    assert "Pass@1" in out
    (page,) = (Path(line) for line in out.splitlines() if line.endswith(".html"))
    assert page.is_file() and page.stat().st_size > 10_000
    (run,) = Path("runs").iterdir()
    assert list((run / "checkpoints").iterdir())


def test_parts_in_a_loop_of_ones_own_learn_and_need_nothing_but_two_functions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours = {module for module in imported("02_parts_in_your_loop") if module.startswith("aepo")}
    assert ours == {"aepo.core.advantages", "aepo.core.losses"}
    load("02_parts_in_your_loop").main(steps=60)
    rewards = [float(line.split("reward ")[1].split(",")[0]) for line in capsys.readouterr().out.splitlines()]
    assert rewards[0] < 0.15 and rewards[-1] > 0.6


def test_the_same_task_and_tool_under_trl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("trl", exc_type=ImportError)
    if not (BUILT_IN_MODELS["atlas"] / "model.safetensors").is_file():
        pytest.skip("the small model is not in this copy: `aepo warmstart src/aepo/models/atlas` makes it")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    load("03_under_trl").main(steps=1)
    out = capsys.readouterr().out
    assert out.count("eval_success") >= 2 and "branch/per_group" in out
    assert load_policy("runs/words-trl").model.num_parameters() > 0


def test_documents_of_ones_own_are_searched_under_a_budget_and_answered_by_vote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (BUILT_IN_MODELS["atlas"] / "model.safetensors").is_file():
        pytest.skip("the small model is not in this copy: `aepo warmstart src/aepo/models/atlas` makes it")
    monkeypatch.chdir(tmp_path)
    example = load("04_ask_your_documents")
    example.main()
    for question, block in zip(example.QUESTIONS, capsys.readouterr().out.strip().split("\n\n"), strict=True):
        asked, answer, votes, *spending = block.splitlines()
        assert asked == question and "trajectories" in votes and "ended by the budget of calls" in spending[-1]
        assert any(answer in text for text in example.NOTES.values())
    found = {document.text for document in example.paragraphs(Path("notes"))}
    assert "capital of Canada: Ottawa" in found and len(found) == 12


def test_one_file_is_short_and_needs_torch_alone() -> None:
    assert len((FOLDER / "aepo_in_one_file.py").read_text().splitlines()) < 400
    outside = {module for module in imported("aepo_in_one_file") if module not in sys.stdlib_module_names}
    assert outside == {"torch"}


def test_one_file_learns_and_branches(capsys: pytest.CaptureFixture[str]) -> None:
    ONE_FILE.train(steps=40)
    before, *steps, after = capsys.readouterr().out.splitlines()
    assert float(before.split()[-1]) < 0.1 and float(after.split()[-1]) > 0.8
    assert any(float(line.split(", ")[-1].split()[0]) >= 1.0 for line in steps), "no step had a branch a question"


def test_groups_of_one_file_have_k_trajectories_that_share_what_they_say() -> None:
    torch.manual_seed(0)
    rng = random.Random(0)
    policy, run = ONE_FILE.Policy(), ONE_FILE.Run()
    for _ in range(3):
        groups = ONE_FILE.explore(policy, [ONE_FILE.ask(rng) for _ in range(6)], 8, run)
        assert [len(group) for group in groups] == [8] * 6
        for path in (path for group in groups for path in group):
            columns = [path.tokens, path.mask, path.logprobs, path.entropies]
            assert path.ended and len({len(column) for column in columns}) == 1
            # What is in the row is what the policy says of the row.
            given_BT = torch.tensor([path.tokens])
            told = policy(given_BT[:, :-1]).gather(-1, given_BT[:, 1:, None])[0, :, 0]
            mask = torch.tensor(path.mask[1:]) != 0
            assert torch.allclose(told[mask], torch.tensor(path.logprobs[1:])[mask], atol=1e-5)
            for start in path.starts[1:]:
                assert path.tokens[start - 1] == path.question.book[path.tokens[start - 2]]
    assert run.branches > 0


@steady
@given(st.floats(-9.0, 9.0), st.integers(1, 40), st.floats(0.1, 3.0), st.floats(0.0, 1.0))
def test_the_budget_rule_of_one_file_is_ours(gap: float, k: int, beta: float, share: float) -> None:
    ours = budget.global_samples(gap, k, beta, 1, share)
    assert ONE_FILE.global_samples(gap, k, beta, share) == ours


@steady
@given(st.floats(-9.0, 9.0), st.integers(0, 30), st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 0.2))
def test_the_branching_rule_of_one_file_is_ours(
    delta: float, consecutive: int, alpha: float, gamma: float, penalty: float
) -> None:
    ours = branching.branch_probability(delta, consecutive, alpha, gamma, penalty)
    assert ONE_FILE.branch_probability(delta, consecutive, alpha, gamma, penalty) == ours


@steady
@given(st.integers(0, 20), st.integers(1, 9), st.floats(0.0, 9.0))
def test_the_pacing_of_one_file_is_ours(slots: int, observation: int, mean: float) -> None:
    assert ONE_FILE.quota(slots, observation, mean) == branching.quota(slots, observation, mean)


@steady
@given(st.lists(st.lists(st.floats(-3.0, 3.0), max_size=5), max_size=6), st.floats(-3.0, 3.0))
def test_the_running_scale_of_one_file_is_ours(steps: list[list[float]], difference: float) -> None:
    theirs, ours = ONE_FILE.Scale(), EntropyScale("running")
    for differences in steps:
        theirs.update(differences)
        ours = ours.updated(differences)
    assert math.isclose(theirs(difference), ours(difference), rel_tol=1e-9, abs_tol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_advantages_of_one_file_are_ours(seed: int) -> None:
    random_numbers = torch.Generator().manual_seed(seed)
    rewards = torch.randint(0, 3, (6, 4), generator=random_numbers) / 3
    rewards[0] = 0.1
    base = ONE_FILE.group_relative(rewards)
    groups = torch.arange(6).repeat_interleave(4)
    assert torch.allclose(base.flatten(), advantages.group_relative(rewards.flatten(), groups), atol=1e-5)
    entropies = torch.rand(24, 9, generator=random_numbers) * 3
    mask = (torch.rand(24, 9, generator=random_numbers) < 0.6).long()
    for weight in (0.2, 3.0):
        theirs = ONE_FILE.entropy_aware(base.reshape(-1, 1), entropies, mask, weight)
        assert torch.allclose(theirs, advantages.entropy_aware(base.reshape(-1, 1), entropies, mask, weight), atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_of_one_file_is_ours_in_value_and_gradient(seed: int) -> None:
    random_numbers = torch.Generator().manual_seed(seed)
    logprobs, noise, given_advantages = torch.randn(3, 8, 16, generator=random_numbers)
    logprobs.requires_grad_()
    old = (logprobs + noise).detach()
    found = []
    for loss in (ONE_FILE.entropy_balanced, losses.entropy_balanced):
        value = loss(logprobs, old, given_advantages)
        found.append((value.detach(), *torch.autograd.grad(value.sum(), logprobs)))
    for theirs, ours in zip(*found, strict=True):
        assert torch.allclose(theirs, ours, atol=1e-6)
