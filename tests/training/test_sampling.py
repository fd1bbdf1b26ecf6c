"""A step samples what it is asked for, replaces what teaches nothing, and does the same when it is taken again."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import aepo
from aepo import config
from aepo.algorithms import AEPO, ARPO, AXPO, DAPO, GRPO, Algorithm
from aepo.assembly.parts import build
from aepo.rewards.score import RewardScorer
from aepo.rollout.explorer import Seeds, explore
from aepo.training.loop import Parts
from aepo.training.sampling import StepGroups, other_questions, sample_step, step_questions
from aepo.types import Group, Origin
from tests import tiny

SEED, STEP, COUNT = 3, 1, 3
QUESTIONS = tiny.samples(8)
Sample = Callable[..., StepGroups]


def parts_of(model_folder: Path) -> Parts:
    task = aepo.Task("letters", QUESTIONS, [tiny.search], tiny.early, system="")
    return build(config.load(None, tiny.settings(Path("unused"), model_folder)), task)[1]


@pytest.fixture
def sample(model_folder: Path) -> Sample:
    """`sample_step`, where some questions give every trajectory the same reward."""

    def run(algorithm: Algorithm, dull: Collection[str] = (), questions: int = len(QUESTIONS)) -> StepGroups:
        def reward(sample: aepo.Sample, trajectory: aepo.Trajectory) -> float:
            return 0.5 if sample.id in dull else float(trajectory.leaf.path)

        parts = parts_of(model_folder)
        state = algorithm.exploration().initial_state(parts.vocab_size)
        asked = QUESTIONS[:questions]
        return anyio.run(sample_step, asked, COUNT, parts.agent, RewardScorer(reward), algorithm, state, SEED, STEP)

    return run


def ids(groups: Collection[Group]) -> list[str]:
    return [group.sample.id for group in groups]


def tokens(group: Group) -> list[list[int]]:
    return [node.tokens for node in group.tree.nodes]


EVERYBODY = frozenset(sample.id for sample in QUESTIONS)
FIRST = [sample.id for sample in step_questions(QUESTIONS, COUNT, SEED, STEP)]


def test_most_algorithms_train_on_all_that_they_sample_once(sample: Sample, model_folder: Path) -> None:
    step = sample(GRPO(group_size=2), EVERYBODY)
    assert (ids(step.kept), step.dropped, step.rounds) == (FIRST, [], 1)
    assert step.metrics() == {"sampling/rounds": 1.0, "sampling/dropped_groups": 0.0}
    parts, rules = parts_of(model_folder), GRPO(group_size=2).exploration()
    samples = [group.sample for group in step.kept]
    state = rules.initial_state(parts.vocab_size)
    same = anyio.run(explore, samples, parts.agent, rules, state, Seeds(SEED, STEP))
    assert list(map(tokens, step.kept)) == list(map(tokens, same))


def test_a_group_of_equal_rewards_is_replaced_by_one_of_another_question(sample: Sample) -> None:
    step = sample(DAPO(group_size=2), FIRST[:2])
    assert ids(step.dropped) == FIRST[:2] and step.rounds == 2
    assert ids(step.kept)[0] == FIRST[2] and len(step.kept) == COUNT
    assert len(set(ids(step.sampled))) == COUNT + 2, "a question was asked twice while others had not been asked"
    assert all(min(group.rewards) < max(group.rewards) for group in step.kept)
    assert step.metrics() == {"sampling/rounds": 2.0, "sampling/dropped_groups": 2.0}


def test_what_is_informative_at_once_is_sampled_once(sample: Sample) -> None:
    step = sample(DAPO(group_size=2))
    assert (ids(step.kept), step.dropped, step.rounds) == (FIRST, [], 1)


def test_after_the_last_round_a_step_goes_on_with_what_it_has(sample: Sample) -> None:
    step = sample(DAPO(group_size=2, max_rounds=4), EVERYBODY - {FIRST[1]})
    # The one that is informative comes up again before the rounds are over, or it does not.
    assert step.rounds == 4 and set(ids(step.kept)) == {FIRST[1]}
    assert len(step.dropped) == COUNT - 1 + 2 * 3 - (len(step.kept) - 1)
    only = sample(DAPO(group_size=2, max_rounds=1), FIRST[:1])
    assert (ids(only.kept), ids(only.dropped), only.rounds) == (FIRST[1:], FIRST[:1], 1)


def test_where_nothing_is_informative_a_step_still_is_one(sample: Sample) -> None:
    step = sample(DAPO(group_size=2), EVERYBODY)
    assert step.rounds == 10 and ids(step.kept) == FIRST
    assert len(step.sampled) == 10 * COUNT
    asked = Counter(ids(step.sampled))
    assert max(asked.values()) - min(asked.values()) <= 1, "questions are asked in turn"


def test_a_question_that_is_asked_again_is_answered_anew(sample: Sample) -> None:
    step = sample(DAPO(group_size=2, max_rounds=3), EVERYBODY, questions=3)
    by_question: dict[str, list[list[list[int]]]] = {}
    for group in step.sampled:
        by_question.setdefault(group.sample.id, []).append(tokens(group))
    assert all(len(answers) == 3 for answers in by_question.values())
    for first, second, third in by_question.values():
        assert first != second != third != first


def test_a_step_that_is_taken_again_is_the_same(sample: Sample) -> None:
    one, other = (sample(DAPO(group_size=2, max_rounds=5), EVERYBODY - {"q6"}) for _ in range(2))
    assert ids(one.sampled) == ids(other.sampled)
    assert list(map(tokens, one.sampled)) == list(map(tokens, other.sampled))


LATE = [
    AXPO(group_size=4, resamples=2),
    AEPO(group_size=4, branch_time="retrospective", entropy_window=3),
    ARPO(group_size=4, branch_time="retrospective", entropy_window=3),
]


@pytest.mark.parametrize("algorithm", LATE, ids=lambda algorithm: algorithm.name)
def test_what_starts_after_the_others_have_ended_does_not_depend_on_who_answered_first(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch, algorithm: Algorithm
) -> None:
    def delayed(seed: int) -> StepGroups:
        chance = random.Random(seed)

        def delay() -> float:
            return chance.choice([0.0, 0.002, 0.01])

        async def reward(sample: aepo.Sample, trajectory: aepo.Trajectory) -> float:
            await anyio.sleep(delay())
            return 0.5

        monkeypatch.setattr(tiny, "on_call", lambda: time.sleep(delay()))
        parts = parts_of(model_folder)
        state = algorithm.exploration().initial_state(parts.vocab_size)
        return anyio.run(sample_step, QUESTIONS, COUNT, parts.agent, RewardScorer(reward), algorithm, state, SEED, STEP)

    first = delayed(0)
    begun = [leaf.origin for group in first.kept for leaf in group.tree.leaves]
    assert (Origin.RESAMPLED if algorithm.name == "axpo" else Origin.BRANCH) in begun
    for seed in (1, 2):
        assert [group.tree for group in delayed(seed).kept] == [group.tree for group in first.kept]


def test_axpo_asks_the_reward_about_each_trajectory_once(model_folder: Path) -> None:
    asked: Counter[tuple[str, int]] = Counter()

    async def reward(sample: aepo.Sample, trajectory: aepo.Trajectory) -> float:
        asked[sample.id, trajectory.leaf.path] += 1
        return 0.1 * trajectory.leaf.path

    parts, algorithm = parts_of(model_folder), AXPO(group_size=4)
    state = algorithm.exploration().initial_state(parts.vocab_size)
    step = anyio.run(sample_step, QUESTIONS, COUNT, parts.agent, RewardScorer(reward), algorithm, state, SEED, STEP)
    assert asked == Counter({(name, path): 1 for name in FIRST for path in range(4)})
    assert all(group.rewards == [0.1 * path for path in range(4)] for group in step.kept)
    for group in step.kept:
        # All of them failed: who called a tool is tried again.
        called = any(trajectory.calls for trajectory in list(group.trajectories())[:3])
        assert group.tree.leaves[3].origin is (Origin.RESAMPLED if called else Origin.LEFTOVER)


@given(st.lists(st.integers(0, 7), max_size=20), st.integers(1, 20), st.integers(0, 5), st.integers(1, 9))
def test_those_who_were_asked_least_come_first(asked: list[int], count: int, step: int, rounds: int) -> None:
    before = Counter(f"q{n}" for n in asked)
    chosen = other_questions(QUESTIONS, count, before, 0, step, rounds)
    assert chosen == other_questions(QUESTIONS, count, before, 0, step, rounds)
    assert len(chosen) == count
    times = [before[sample.id] for sample in chosen[: len(QUESTIONS)]]
    assert times == sorted(before[sample.id] for sample in QUESTIONS)[:count]


def test_each_round_of_each_step_chooses_anew() -> None:
    chosen = {
        (step, rounds): tuple(s.id for s in other_questions(QUESTIONS, 8, Counter(), 0, step, rounds))
        for step in range(5)
        for rounds in range(1, 5)
    }
    assert len(set(chosen.values())) > 15


def test_steps_ask_each_question_once_a_pass() -> None:
    passed = [s.id for step in range(8) for s in step_questions(QUESTIONS, 3, 0, step)]
    for start in (0, 8, 16):
        assert sorted(passed[start : start + 8]) == sorted(EVERYBODY)
