"""Decisions in their order, stage by stage: no engine, no event loop, rules that do as they are told."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aepo.core.exploration import Candidate, Ended, ExplorationState, IndependentSamples, Restart, Step
from aepo.core.noise import uniform
from aepo.rollout.spending import Spending, Stage, Start
from aepo.types import BranchDecision, Origin


@dataclass(frozen=True)
class Told(IndependentSamples):
    """Rules that do as they are told.

    Attributes:
        early: Paths that start in any case.
        m: Paths that start from the question.
        branches: How many start, by path and observation.
        late: Where the last paths begin.
        asked: What the rules were asked, in order.
    """

    probes: int = 0
    watches: bool = True
    early: int = 1
    m: int = 1
    branches: Mapping[tuple[int, int], int] = field(default_factory=dict)
    late: Sequence[Restart] = ()
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    def head_start(self) -> int:
        return self.early

    def global_samples(self, gap: float | None, state: ExplorationState) -> int:
        self.asked.append(("m", gap))
        return self.m

    def decide(
        self,
        candidates: Sequence[Candidate],
        observation: int,
        used: int,
        budget: int,
        mean_observations: float,
        state: ExplorationState,
    ) -> list[BranchDecision]:
        in_a_row = {c.path: c.consecutive for c in candidates}
        assert [c.uniform for c in candidates] == [uniform(key(c.path), -observation) for c in candidates]
        self.asked.append(("decide", observation, in_a_row, used, budget, mean_observations))
        started = [self.branches.get((c.path, observation), 0) for c in candidates]
        return [
            BranchDecision(c.entropy, c.entropy - c.root_entropy, c.consecutive, 0.5, n, None if n else "threshold")
            for c, n in zip(candidates, started, strict=True)
        ]

    def restarts(self, ended: Sequence[Ended], slots: int, mean_observations: float) -> list[Restart]:
        self.asked.append(("restarts", list(ended), slots, mean_observations))
        return list(self.late)


def key(path: int) -> int:
    return 100 + path


def spending(rules: Told) -> Spending:
    return Spending(rules, rules.initial_state(10), key)


def at_question(origin: Origin, count: int = 1, watched: bool = True) -> list[Start]:
    return [Start(origin, watched)] * count


def test_probing_waits_for_all_probes_and_then_fixes_m() -> None:
    rules = Told(8, probes=2, early=3, m=5)
    spent = spending(rules)
    assert spent.begin() == at_question(Origin.PROBE, 2) + at_question(Origin.GLOBAL)
    assert spent.shown(0, 1, entropy=1.0, root_entropy=3.0) == []
    assert spent.shown(0, 2, entropy=2.0, root_entropy=3.0) == []
    assert spent.ended(0) == spent.ended(2) == []
    assert (spent.stage, spent.gap, spent.global_samples, rules.asked) == (Stage.PROBING, None, 0, [])
    assert spent.ended(1) == at_question(Origin.GLOBAL, 2)
    # Probe 1 called no tool: its gap is 0.
    assert (spent.stage, spent.gap, spent.global_samples) == (Stage.BRANCHING, (3.0 - 1.5) / 2, 5)
    assert rules.asked == [("m", 0.75)]


def test_without_probes_m_is_known_at_once() -> None:
    rules = Told(8, early=2, m=4)
    spent = spending(rules)
    assert spent.begin() == at_question(Origin.GLOBAL, 4)
    assert (spent.stage, spent.gap, spent.global_samples, rules.asked) == (Stage.BRANCHING, None, 4, [("m", None)])


def test_observations_of_probes_are_decided_about_as_soon_as_m_is_known() -> None:
    rules = Told(4, probes=1, m=1, branches={(0, 1): 1, (0, 2): 1})
    spent = spending(rules)
    spent.begin()
    for number in (1, 2):
        assert spent.shown(0, number, 1.0, 1.0) == []
    assert spent.ended(0) == [Start(Origin.BRANCH, True, parent=0, depth=1)]
    # T is 2, the probe's observations. Number 2 waits for the branch.
    assert rules.asked == [("m", 0.0), ("decide", 1, {0: 0}, 0, 3, 2.0)]
    assert spent.ended(1) == [Start(Origin.BRANCH, True, parent=0, depth=2)]
    assert rules.asked[2:] == [("decide", 2, {0: 1}, 1, 3, 2.0)]


def test_a_decision_waits_for_all_paths_but_not_for_those_that_have_ended() -> None:
    rules = Told(6, early=3, m=3, branches={(1, 1): 2})
    spent = spending(rules)
    spent.begin()
    assert spent.shown(0, 1, 1.0, 1.0) == spent.shown(0, 2, 1.0, 1.0) == spent.ended(2) == []
    assert len(rules.asked) == 1
    assert spent.shown(1, 1, 1.0, 1.0) == [Start(Origin.BRANCH, True, parent=1, depth=1)] * 2
    assert {at: decision.branches for at, decision in spent.decisions.items()} == {(0, 1): 0, (1, 1): 2}
    # Number 2 waits for path 1 and for its branches, which inherit that they come from a branching in a row.
    assert spent.ended(1) == spent.ended(0) == spent.shown(3, 2, 1.0, 1.0) == []
    assert spent.shown(4, 2, 1.0, 1.0) == []
    assert rules.asked[-1] == ("decide", 2, {0: 0, 3: 1, 4: 1}, 2, 3, 1.0)
    assert spent.stage is Stage.BRANCHING


def test_the_order_of_events_changes_nothing() -> None:
    def spend(order: Sequence[int]) -> tuple[Any, ...]:
        rules = Told(5, probes=1, early=3, m=3, branches={(2, 1): 1, (1, 2): 1})
        spent = spending(rules)
        starts = spent.begin()
        events: dict[int, list[Callable[[], list[Start]]]] = {
            path: [
                lambda path=path: spent.shown(path, 1, 0.5 * path, 0.25),
                lambda path=path: spent.shown(path, 2, 0.75 * path, 0.25),
                lambda path=path: spent.ended(path),
            ]
            for path in range(3)
        }
        for path in order:
            starts += events[path].pop(0)()
        for path in range(3, len(starts)):
            starts += spent.ended(path)
        return starts, rules.asked, spent.decisions, spent.gap, spent.stage

    in_turn = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    first = spend(in_turn)
    assert [start.origin for start in first[0]] == [Origin.PROBE] + [Origin.GLOBAL] * 2 + [Origin.BRANCH] * 2
    for seed in range(100):
        assert spend(random.Random(seed).sample(in_turn, len(in_turn))) == first


def test_filling_looks_back_at_what_has_ended_and_gives_the_rest_to_the_question() -> None:
    late = [Restart(1, 2), Restart(0, 1, before_call=True), Restart(1, 2)]
    rules = Told(6, early=2, m=2, late=late)
    spent = spending(rules)
    spent.begin()
    for path, number in ((0, 1), (1, 1), (1, 2)):
        spent.shown(path, number, 1.0, 0.5)
    assert spent.ended(0) == [] and spent.stage is Stage.BRANCHING
    assert spent.ended(1) == [] and spent.stage is Stage.FILLING
    before = dict(spent.decisions)
    assert spent.fill([[0.3], [0.1, 0.2]], [0.0, 1.0]) == [
        Start(Origin.BRANCH, False, parent=1, depth=2),
        Start(Origin.RESAMPLED, False, parent=0, depth=0),
        Start(Origin.BRANCH, False, parent=1, depth=2),
        Start(Origin.LEFTOVER, False),
    ]
    assert spent.stage is Stage.FINISHING
    first = Step(1, uniform(key(0), -1), before[0, 1], 0.3)
    others = [Step(i, uniform(key(1), -i), before[1, i], i / 10) for i in (1, 2)]
    assert rules.asked[-1] == ("restarts", [Ended(0, [first], 0.0), Ended(1, others, 1.0)], 4, 1.5)
    assert (before[1, 2].branches, before[1, 2].stopped_by) == (0, "threshold")
    assert (spent.decisions[1, 2].branches, spent.decisions[1, 2].stopped_by) == (2, None)
    assert [spent.ended(path) for path in (2, 3, 4)] == [[]] * 3 and spent.stage is Stage.FINISHING
    assert spent.ended(5) == [] and spent.stage is Stage.WHOLE


def test_a_group_without_anything_left_to_fill_is_whole() -> None:
    rules = Told(3, early=2, m=2, branches={(0, 1): 1})
    spent = spending(rules)
    spent.begin()
    spent.shown(0, 1, 1.0, 1.0)
    assert len(spent.ended(1)) == 1
    assert spent.ended(0) == [] and spent.stage is Stage.BRANCHING
    assert spent.ended(2) == [] and spent.stage is Stage.WHOLE
    assert [asked[0] for asked in rules.asked] == ["m", "decide"]


def test_where_nobody_branches_only_probes_are_watched() -> None:
    spent = spending(Told(3, probes=1, early=3, m=3, watches=False))
    assert [start.watched for start in spent.begin()] == [True, False, False]
