"""Who samples may be another than who trains: it has the weights that it was handed, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from aepo import config
from aepo.assembly.parts import build
from aepo.config import Config
from aepo.engines.local.policy import LocalPolicy
from aepo.engines.local.sampler import LocalSampler
from aepo.equipment.agents import agents
from aepo.runs import checkpoint
from aepo.runs.begun import run_folder
from aepo.runs.metrics import read_metrics
from aepo.training import loop
from aepo.training.display import Display
from aepo.training.loop import Trainer
from aepo.types import Kind
from aepo.viewer import read_trees, tree_files
from tests import tiny

Go = Callable[..., Path]


class Apart(LocalSampler):
    """Has weights of its own. They are broken whenever nobody may sample, so that a missing `push` cannot go unseen."""

    def __init__(self, policy: LocalPolicy, refuses: int | None) -> None:
        super().__init__(deepcopy(policy.model), policy.tokenizer)
        self.trained, self.refuses = policy.model, refuses
        self.pushed: list[int] = []
        self.free()

    def push(self, version: int) -> dict[str, float]:
        if version == self.refuses:
            raise RuntimeError("the weights did not arrive")
        self._model.load_state_dict(self.trained.state_dict())
        self.pushed.append(version)
        return {**super().push(version), "weights/pushed": float(len(self.pushed))}

    def free(self) -> None:
        with torch.no_grad():
            for parameter in self._model.parameters():
                parameter.fill_(torch.nan)


class Mortal(Apart):
    """Dies once and can be started again; then it has no weights."""

    def revive(self) -> bool:
        if self.refuses is None:
            return False
        self.refuses, self.version = None, -1
        return True


def train(
    settings: Config, apart: bool, refuses: int | None = None, resume: bool = False, kind: type = Apart
) -> list[int]:
    """Run to the end; the versions that a sampler of its own was handed."""
    task = tiny.letters()
    policy, parts = build(settings, task)
    sampler = kind(policy, refuses)
    if apart:
        agent, greedy = agents(policy, task, settings, [*task.samples, *task.held_out], sampler)
        parts = replace(parts, sampler=sampler, agent=agent, evaluation_agent=agent, greedy_agent=greedy)
    with run_folder(settings, task, named=True, resume=resume) as folder:
        Trainer(settings, parts, folder, Display(), resume).run()
    return sampler.pushed


@pytest.fixture
def settings(tmp_path: Path, model_folder: Path) -> Callable[[str], Config]:
    return lambda name: config.load(None, tiny.settings(tmp_path / name, model_folder, "rollout.date=2026-01-02"))


def sampled(run: Path) -> list[list[tuple[list[int], int | None]]]:
    """Policy tokens with the version of the weights that they came from, step by step."""
    return [
        [
            (node.tokens, node.version)
            for record in read_trees(path)
            for node in record.group.tree.nodes
            if node.kind is Kind.POLICY
        ]
        for path in tree_files(run)
    ]


def test_a_sampler_with_weights_of_its_own_trains_the_same_policy(settings: Callable[[str], Config]) -> None:
    itself, apart = settings("itself"), settings("apart")
    assert train(itself, apart=False) == []
    assert train(apart, apart=True) == [0, 1, 2, 3, 4, 5]
    assert sampled(Path(apart.run)) == sampled(Path(itself.run))
    rows = read_metrics(Path(apart.run) / "metrics.jsonl")
    assert [row["weights/pushed"] for row in rows if "weights/pushed" in row] == [1, 2, 3, 4, 5, 6], "it is logged"
    assert all(row["logprobs/rollout_difference_max"] < 1e-4 for row in rows if "reward/mean" in row)


def test_every_reply_says_which_weights_it_came_from(settings: Callable[[str], Config]) -> None:
    run = settings("run")
    train(run, apart=True)
    steps = sampled(Path(run.run))
    assert [{version for _, version in step} for step in steps] == [{0}, {1}, {2}, {3}, {4}]


def test_weights_that_do_not_arrive_end_the_run_after_a_whole_step(settings: Callable[[str], Config]) -> None:
    whole, broken = settings("whole"), settings("broken")
    train(whole, apart=True)
    with pytest.raises(RuntimeError, match="did not arrive") as caught:
        train(broken, apart=True, refuses=3)
    assert any("stopped after step 3; go on with" in note for note in caught.value.__notes__)
    newest = checkpoint.latest(Path(broken.run) / "checkpoints")
    assert newest is not None and newest.name == "step-000003"
    assert train(broken, apart=True, resume=True) == [3, 4, 5]
    assert sampled(Path(broken.run)) == sampled(Path(whole.run))


@pytest.mark.parametrize("at", ["a hand-over", "an evaluation"])
def test_a_sampler_that_died_is_started_again_and_asked_again(
    settings: Callable[[str], Config], monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    whole, broken = settings("whole"), settings("broken")
    train(whole, apart=True)
    if at == "an evaluation":
        evaluate, died = loop.evaluate, []

        async def dying(*args: object) -> object:
            if not died:
                died.append(True)
                raise RuntimeError("the server has gone")
            return await evaluate(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(loop, "evaluate", dying)
    pushed = train(broken, apart=True, refuses=3 if at == "a hand-over" else 99, kind=Mortal)
    assert pushed == ([0, 1, 2, 3, 4, 5] if at == "a hand-over" else [0, 0, 1, 2, 3, 4, 5])
    assert sampled(Path(broken.run)) == sampled(Path(whole.run))
