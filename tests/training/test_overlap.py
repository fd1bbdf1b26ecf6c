"""Training goes on without a step's slowest groups, and takes them one step later; nothing gets lost on the way."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from copy import deepcopy
from pathlib import Path
from typing import Any

import anyio
import pytest
import torch

import aepo
from aepo import api, config
from aepo.algorithms import AXPO, DAPO, GRPO, Algorithm
from aepo.assembly.parts import build
from aepo.config import ConfigError
from aepo.core.exploration import ExplorationState
from aepo.rollout.explorer import RolloutError
from aepo.runs import checkpoint
from aepo.runs.metrics import read_metrics
from aepo.training import loop
from aepo.training.display import Display
from aepo.training.loop import Parts
from aepo.training.overlap import OverlappedRollout, overlapping
from aepo.training.sampling import step_questions
from aepo.types import Group, Kind
from aepo.viewer import read_trees, tree_files
from tests import tiny
from tests.kept import step_of

OVERLAP = ("rollout.deterministic=false", "rollout.overlap=1")
SEED, COUNT = 3, 3
QUESTIONS = tiny.samples(9)
# A test that waits this long has failed; none of them waits if all is well.
FOREVER = 60


class Slow:
    """A tool in a thread whose first call in a training rollout is held until the test lets it go."""

    def __init__(self) -> None:
        self.lock, self.training, self.asked = threading.Lock(), False, 0
        self.held, self.free = threading.Event(), threading.Event()
        self.bug: Exception | None = None

    def tool(self) -> aepo.Tool:
        @aepo.tool(timeout=600)
        def search(query: str) -> str:
            """Look something up.

            Args:
                query: What to look up.
            """
            with self.lock:
                self.asked += self.training
                first = self.training and self.asked == 1
            if first:
                self.held.set()
                assert self.free.wait(FOREVER), "nobody went on before the slow tool had answered"
                if self.bug is not None:
                    raise self.bug
            return query[::-1][:4]

        return search


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    made, step, evaluate = Slow(), OverlappedRollout.step, loop.evaluate

    def training(*args: Any, **kwargs: Any) -> Any:
        made.training = True
        return step(*args, **kwargs)

    async def evaluating(*args: Any, **kwargs: Any) -> Any:
        made.training = False
        return await evaluate(*args, **kwargs)

    monkeypatch.setattr(OverlappedRollout, "step", training)
    monkeypatch.setattr(loop, "evaluate", evaluating)
    yield made
    made.free.set()


def task(tool: aepo.Tool, questions: int = 6) -> aepo.Task:
    return aepo.Task(
        "letters", QUESTIONS[:questions], [tool], tiny.early, QUESTIONS[questions : questions + 2], system=""
    )


def parts_of(model_folder: Path, tool: aepo.Tool) -> Parts:
    return build(config.load(None, tiny.settings(Path("unused"), model_folder, *OVERLAP)), task(tool))[1]


def asked_in(step: int) -> list[aepo.Sample]:
    return step_questions(QUESTIONS, COUNT, SEED, step)


def ids(groups: list[Group]) -> list[str]:
    return [group.sample.id for group in groups]


PLAIN = GRPO(group_size=4)


def opened(parts: Parts, algorithm: Algorithm = PLAIN) -> AbstractContextManager[OverlappedRollout]:
    return overlapping(parts.agent, parts.scorer, algorithm, SEED, 1)


def initial_state(parts: Parts) -> ExplorationState:
    return PLAIN.exploration().initial_state(parts.vocab_size)


def when_grown(rollout: OverlappedRollout, number: int, then: Callable[[], None]) -> None:
    """Do something once so many groups have grown."""
    before, grown = rollout.rollout.ended, Counter[str]()

    def ended() -> None:
        before()
        grown["groups"] += 1
        if grown["groups"] == number:
            then()

    rollout.rollout.ended = ended


def test_a_step_does_not_wait_for_its_slowest_group_and_the_next_one_trains_it(model_folder: Path, slow: Slow) -> None:
    parts = parts_of(model_folder, slow.tool())
    state = initial_state(parts)
    with opened(parts) as rollout:
        first = rollout.step(asked_in(0), state, 0)
        assert slow.held.is_set() and not slow.free.is_set()
        (late,) = first.left
        assert ids(first.kept) == [sample.id for sample in asked_in(0) if sample != late]
        assert first.metrics().items() >= {"overlap/stale_share": 0.0, "overlap/left_groups": 1.0}.items()
        slow.free.set()
        second = rollout.step(asked_in(1), state, 1, last=lambda groups: True)
    assert ids(second.kept) == [late.id, *(sample.id for sample in asked_in(1))]
    assert second.metrics().items() >= {"overlap/stale_share": 0.25, "overlap/left_groups": 0.0}.items()
    for group in second.kept:
        assert len(group.tree.leaves) == 4 and all(isinstance(reward, float) for reward in group.rewards)


def test_no_group_is_left_twice(model_folder: Path, slow: Slow) -> None:
    parts = parts_of(model_folder, slow.tool())
    state = initial_state(parts)
    with opened(parts) as rollout:
        (late,) = rollout.step(asked_in(0), state, 0).left
        # All others of both steps: a step that only counted would be content with them.
        when_grown(rollout, COUNT, slow.free.set)
        assert late.id in ids(rollout.step(asked_in(1), state, 1).kept)


def test_every_token_has_the_log_probability_under_the_weights_that_sampled_it(model_folder: Path, slow: Slow) -> None:
    parts = parts_of(model_folder, slow.tool())
    model, state = parts.policy.model, initial_state(parts)  # type: ignore[attr-defined]

    def logprobs(of: Any, tokens: list[int]) -> torch.Tensor:
        """The log-probabilities of all tokens but the first."""
        with torch.no_grad():
            # The model has two more ids than the tokenizer, which are never drawn.
            logp = of(torch.tensor([tokens])).logits[0, :, :-2].double().log_softmax(-1)
        return logp[:-1].gather(1, torch.tensor(tokens[1:])[:, None])[:, 0]

    with opened(parts) as rollout:
        rollout.step(asked_in(0), state, 0)
        ((_, question),) = rollout.asked
        written = {(n.path, tuple(n.tokens)) for n in question.tree.nodes if n.kind is Kind.POLICY}
        before = deepcopy(model)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.1)
        slow.free.set()
        second = rollout.step(asked_in(1), state, 1, last=lambda groups: True)
    late, *others = second.kept
    seen: Counter[bool] = Counter()
    for trajectory in late.trajectories():
        mask, given = torch.tensor(trajectory.loss_mask[1:]) == 1, torch.tensor(trajectory.logprobs[1:]).double()
        old, new = (logprobs(of, trajectory.tokens)[mask] for of in (before, model))
        is_old, is_new = ((given[mask] - these).abs() < 1e-4 for these in (old, new))
        assert bool((is_old | is_new).all())
        # Both are the same where a token is as good as certain.
        written_before = [
            (node.path, tuple(node.tokens)) in written
            for node in (late.tree.nodes[number] for number in trajectory.nodes)
            if node.kind is Kind.POLICY
            for _ in node.tokens
        ]
        assert bool(is_old[: written_before.index(False)].all() if False in written_before else is_old.all())
        seen[True] += int((~is_new).sum())
        seen[False] += int((~is_old).sum())
    assert seen[True] and seen[False], "there are tokens of both"
    for trajectory in (trajectory for group in others for trajectory in group.trajectories()):
        mask, given = torch.tensor(trajectory.loss_mask[1:]) == 1, torch.tensor(trajectory.logprobs[1:]).double()
        assert torch.allclose(given[mask], logprobs(model, trajectory.tokens)[mask], atol=1e-4)


def test_rules_that_need_rewards_get_them(model_folder: Path, slow: Slow) -> None:
    parts, algorithm = parts_of(model_folder, slow.tool()), AXPO(group_size=4)
    slow.free.set()
    state = algorithm.exploration().initial_state(parts.vocab_size)
    with opened(parts, algorithm) as rollout:
        step = rollout.step(asked_in(0), state, 0, last=lambda groups: True)
    assert ids(step.kept) == [sample.id for sample in asked_in(0)]


# Whole runs.


def settings(run: Path, model_folder: Path, *overrides: str) -> config.Config:
    return config.load(None, tiny.settings(run, model_folder, *OVERLAP, "rollout.questions=3", *overrides))


def rows(run: Path) -> list[dict[str, Any]]:
    return [row for row in read_metrics(run / "metrics.jsonl") if "reward/mean" in row]


def trained(run: Path) -> list[list[str]]:
    """The questions that each step trained on."""
    return [[record.group.sample.id for record in read_trees(path)] for path in tree_files(run)]


def asked_by(settings: config.Config, steps: int) -> Counter[str]:
    questions = task(tiny.search).samples
    asked = [step_questions(questions, settings.rollout.questions, settings.seed, step) for step in range(steps)]
    return Counter(sample.id for step in asked for sample in step)


def test_a_run_trains_on_every_group_that_it_asks_for(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch, slow: Slow
) -> None:
    chosen = settings(tmp_path / "run", model_folder, "evaluation.every=1")
    real = Display.step

    def step(self: Display, number: int, values: Any) -> None:
        real(self, number, values)
        # The update and the evaluation after it went by while the tool was asked.
        if number == 1 and "eval/success" in values:
            assert slow.held.is_set()
            slow.free.set()

    monkeypatch.setattr(Display, "step", step)
    api.train_task(chosen, task(slow.tool()))
    found = rows(tmp_path / "run")
    assert found[0]["overlap/left_groups"] == 1 and found[1]["overlap/stale_share"] > 0
    assert found[-1]["overlap/left_groups"] == 0
    assert found[-1]["budget/trajectories"] == 5 * 3 * 6
    assert sum(map(Counter, trained(tmp_path / "run")), Counter()) == asked_by(chosen, 5)


def test_a_run_that_its_budget_ends_leaves_nothing_either(tmp_path: Path, model_folder: Path) -> None:
    chosen = settings(tmp_path / "run", model_folder, "train.steps=50", "train.max_trajectories=40")
    api.train_task(chosen, task(tiny.search))
    found = rows(tmp_path / "run")
    assert found[-1]["overlap/left_groups"] == 0
    assert found[-1]["budget/trajectories"] == len(found) * 3 * 6 >= 40


def test_a_resumed_run_asks_anew_what_was_in_flight(tmp_path: Path, model_folder: Path, slow: Slow) -> None:
    chosen = settings(tmp_path / "run", model_folder, "train.steps=3", "evaluation.every=1")
    real = Display.step

    def interrupted(self: Display, step: int, values: Any) -> None:
        real(self, step, values)
        if step == 1 and "reward/mean" in values:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Display, "step", interrupted)
            with pytest.raises(KeyboardInterrupt):
                api.train_task(chosen, task(slow.tool()))
    finally:
        signal.signal(signal.SIGINT, before)
    assert not slow.free.is_set()
    newest = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert newest is not None and step_of(newest) == 1
    (late,) = json.loads((newest / "state.json").read_text())["left"]
    assert late not in trained(tmp_path / "run")[0]
    api.train_task(chosen, task(tiny.search), resume=True)
    assert sum(map(Counter, trained(tmp_path / "run")), Counter()) == asked_by(chosen, 3)
    assert [row["step"] for row in rows(tmp_path / "run")] == [1, 2, 3]


def test_ctrl_c_in_a_rollout_cancels_what_is_in_flight(tmp_path: Path, model_folder: Path) -> None:
    """Here nothing answers at all: the step that is waited for in vain."""
    begun = threading.Event()

    @aepo.tool(timeout=600)
    async def search(query: str) -> str:
        """Look something up.

        Args:
            query: What to look up.
        """
        if not begun.is_set():
            begun.set()
            os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep_forever()
        return ""

    chosen = settings(tmp_path / "run", model_folder)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            api.train_task(chosen, task(search, 9))
    finally:
        signal.signal(signal.SIGINT, before)
    newest = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert newest is not None and step_of(newest) == 0
    assert json.loads((newest / "state.json").read_text())["left"] == []


def test_a_bug_in_a_slow_tool_stops_the_run_after_the_step_that_did_not_wait_for_it(
    tmp_path: Path, model_folder: Path, slow: Slow
) -> None:
    chosen, real = settings(tmp_path / "run", model_folder), loop.update
    slow.bug = ZeroDivisionError("what the tool did")

    def freeing(*args: Any, **kwargs: Any) -> Any:
        slow.free.set()
        return real(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "update", freeing)
        with pytest.raises(RolloutError, match="what the tool did"):
            api.train_task(chosen, task(slow.tool()))
    newest = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert newest is not None and step_of(newest) == 1
    assert len(json.loads((newest / "state.json").read_text())["left"]) == 1


def test_without_it_nothing_is_said_of_it(tmp_path: Path, model_folder: Path) -> None:
    api.train_task(settings(tmp_path / "run", model_folder, "rollout.overlap=0", "train.steps=1"), task(tiny.search))
    assert not [name for row in rows(tmp_path / "run") for name in row if name.startswith("overlap/")]


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["rollout.deterministic=true"], "lets the speed of tools decide which step a group is trained in"),
        (["rollout.questions=1"], "is 1 of 1 groups: leave at least one to train on"),
        (["algorithm.name=dapo"], "cannot be used with dapo"),
    ],
)
def test_what_it_cannot_go_with_is_refused(overrides: list[str], line: str) -> None:
    with pytest.raises(ConfigError, match=line) as refused:
        config.load(None, ["rollout.overlap=1", *overrides])
    assert "\n" not in str(refused.value)
    assert config.load(None, ["rollout.overlap=1"]).algorithm.name != DAPO().name
