"""A population over the steps of a run: who is drawn, who is credited, who is the best, and who is dropped when."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace

import pytest

from aepo.config import InstructionsConfig
from aepo.instructions.population import Instruction, Population
from aepo.instructions.writing import SHOWN_TOKENS
from aepo.types import Group, Kind, Leaf, Origin, Sample, StopReason, TrajectoryTree
from benchmarks.instructions_control import false_drops


def population(*texts: str, **settings: object) -> Population:
    made = InstructionsConfig(enabled=True, **settings)
    members = tuple(Instruction(number, text) for number, text in enumerate(("", *texts)))
    return Population(made, members, written=len(members))


def group(question: str, instruction: str | None, *rewards: float, length: int = 3) -> Group:
    """A question's group: paths of one turn with these rewards."""
    tree = TrajectoryTree()
    prompt = tree.add(None, Kind.PROMPT, [7], 0)
    for path, reward in enumerate(rewards):
        node = tree.add(prompt.id, Kind.POLICY, range(length), path)
        tree.leaves.append(Leaf(path, node.id, Origin.GLOBAL, StopReason.ANSWER, reward=reward))
    return Group(Sample(f"about {question}?", id=question, instruction=instruction), tree)


def questions(count: int) -> list[Sample]:
    return [Sample("?", id=f"q{number}") for number in range(count)]


def test_each_question_and_step_has_its_own_draw_and_repeating_it_gives_the_same() -> None:
    four = population("one", "two", "three")
    drawn = four.instructed(questions(400), 0, 5)
    assert drawn == four.instructed(questions(400), 0, 5)
    assert drawn != four.instructed(questions(400), 0, 6) != four.instructed(questions(400), 1, 6)
    shares = Counter(sample.instruction for sample in drawn)
    assert all(70 < shares[text] < 130 for text in ("", "one", "two", "three"))
    twice = four.instructed(questions(1) * 40, 0, 0)
    assert len({sample.instruction for sample in twice}) == 4, "a question that is asked again has a draw of its own"


def test_the_weights_lead_the_draw() -> None:
    two = population("good")
    two = replace(two, members=(two.members[0], replace(two.members[1], weight=0.3)))
    drawn = Counter(sample.instruction for sample in two.instructed(questions(400), 0, 0))
    assert drawn["good"] > 350 and drawn[""] > 5


def test_credit_by_step_and_by_question() -> None:
    groups = [group("a", "", 1, 0), group("b", "", 0.5, 0), group("c", "one", 1, 0.5), group("d", "two", 0.25, 0)]
    by_step = population("one", "two", credit="step").after(groups, 1)
    assert [m.weight for m in by_step.members] == pytest.approx([-0.03125, 0.34375, -0.28125])
    assert [(m.visits, m.groups) for m in by_step.members] == [(1, 2), (1, 1), (1, 1)]
    first = population("one", "two").after(groups, 1)
    assert [m.groups for m in first.members] == [0, 0, 0], "a first visit has nothing to compare with"
    again = [group("a", "one", 1, 1), group("b", "two", 0.25, 0.25)]
    second = first.after(again, 2)
    assert [m.weight for m in second.members] == pytest.approx([0, 0.25, -0.25])
    assert second.last == {"a": 1.0, "b": 0.25, "c": 0.75, "d": 0.125}


def test_a_group_of_an_instruction_that_is_gone_credits_nobody() -> None:
    before = population("one", credit="step")
    after = before.after([group("a", "gone", 1, 1), group("b", "one", 0, 0)], 1)
    assert after.members[1].groups == 1 and "a" not in after.last
    assert before.after([group("a", None, 1)], 1) == before


def test_worth_is_the_mean_credit_with_its_interval() -> None:
    one = Instruction(1, "x", groups=4, total=0.4, squares=0.2)
    mean, low, high = one.worth()
    assert (mean, high - mean) == (pytest.approx(0.1), pytest.approx(1.96 * (0.16 / 3 / 4) ** 0.5))
    assert low + high == pytest.approx(2 * mean)
    assert Instruction(0, "").worth() is None


def test_the_best_has_enough_groups_and_the_first_is_it_before_there_is_one() -> None:
    two = population("one", min_groups=3)
    young = replace(two, members=(two.members[0], replace(two.members[1], weight=1.0, groups=2)))
    assert young.best.id == 0
    known = replace(two, members=(two.members[0], replace(two.members[1], weight=1.0, groups=3)))
    assert known.best.id == 1


def test_failures_are_kept_lowest_first_two_of_a_question_and_cut() -> None:
    long = 3 * SHOWN_TOKENS
    after = population("one").after([group("a", "one", 0.5, 1.0, 0.2, 0.1), group("b", "", 0.0, length=long)], 1)
    assert [(one.question, one.reward, one.instruction) for one in after.failures] == [
        ("b", 0.0, 0),
        ("a", 0.1, 1),
        ("a", 0.2, 1),
    ]
    cut = after.failures[0]
    assert cut.head == list(range(SHOWN_TOKENS)) and cut.tail == list(range(long - SHOWN_TOKENS, long))
    later = after.after([group("a", "", 0.1)], 2)
    assert [(one.question, one.step) for one in later.failures] == [("b", 1), ("a", 2), ("a", 1)]


def test_a_checkpoint_keeps_everything_and_a_changed_text_is_found() -> None:
    before = population("one", credit="step").after([group("a", "one", 1, 0), group("b", "", 0, 0)], 1)
    data = json.loads(json.dumps(before.to_dict()))
    assert population("other").restored(data).members == before.members
    assert population("one", credit="step").restored(data) == before
    data["members"][1]["text"] = "another"
    with pytest.raises(ValueError, match="text of instruction 1 was changed"):
        before.restored(data)


def test_where_instructions_do_not_matter_the_draw_stays_even_and_a_better_one_is_not_dropped() -> None:
    """A small run of benchmarks/instructions_control.py."""
    found = false_drops(seeds=4, steps=60, gain=0.0, min_groups=32)
    assert all(0.15 < share < 0.35 for share in found.shares)
    better = false_drops(seeds=4, steps=60, gain=0.3, min_groups=32)
    assert better.lost == 0 < better.dropped and better.shares[1] > 0.4
    assert better.least_groups is not None and better.least_groups >= 32


def test_nobody_is_dropped_before_min_groups() -> None:
    chance, four = random.Random(0), population("one", "two", "three", credit="step", min_groups=20, keep=0.25)
    for step in range(1, 12):
        asked = four.instructed(questions(4), 0, step)
        four = four.after([group(s.id, s.instruction, chance.random()) for s in asked], step)
        stay = {m.id for m in four.surviving().members}
        assert {m.id for m in four.members if m.groups < 20} | {0} <= stay
