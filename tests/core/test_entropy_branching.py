import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.core.branching import PACINGS, RULES, hindsight_score, quota
from aepo.core.exploration import Candidate, Ended, Exploration, Restart, Step
from aepo.core.noise import noise_key, uniform
from aepo.core.scale import MODES
from aepo.types import BranchDecision
from tests.rules import altered, branching

entropies = st.floats(0.0, 12.0)
candidates = st.lists(
    st.builds(
        Candidate,
        path=st.integers(0, 40),
        entropy=entropies,
        root_entropy=entropies,
        consecutive=st.integers(0, 25),
        uniform=st.floats(0.0, 1.0, exclude_max=True),
    ),
    max_size=8,
    unique_by=lambda c: c.path,
)


def rises(*amounts: float, consecutive: int = 0) -> list[Candidate]:
    """Candidates whose entropy rose by `amounts` nats, on paths 0, 1, ..."""
    return [Candidate(path, 5.0 + rise, 5.0, consecutive, 0.5) for path, rise in enumerate(amounts)]


def decide(
    rules: Exploration, asked: list[Candidate], i: int = 1, used: int = 0, budget: int = 4, mean: float = 1.0
) -> list[BranchDecision]:
    return rules.decide(asked, i, used, budget, mean, rules.initial_state(1000))


def outcome(decisions: list[BranchDecision]) -> list[tuple[int, str | None]]:
    return [(d.branches, d.stopped_by) for d in decisions]


def test_the_highest_probability_goes_first() -> None:
    decisions = decide(branching(8), rises(0.6, 2.0, 1.0, -1.0), budget=2)
    assert outcome(decisions) == [(0, "budget"), (1, None), (1, None), (0, "threshold")]
    assert [d.probability for d in decisions] == pytest.approx([0.62, 0.9, 0.7, 0.3])
    assert [d.delta for d in decisions] == pytest.approx([0.6, 2.0, 1.0, -1.0])
    assert decisions[0].entropy == 5.6


def test_equal_probabilities_go_by_path_number() -> None:
    asked = rises(3.0, 3.0, 3.0)[::-1]
    assert [c.path for c, d in zip(asked, decide(branching(8), asked, budget=2), strict=True) if d.branches] == [
        1,
        0,
    ]


def test_a_wider_beam_serves_the_best_path_first() -> None:
    decisions = decide(branching(8, beam_size=4), rises(1.0, 2.0), budget=4)
    assert outcome(decisions) == [(1, None), (3, None)]


def test_pacing_is_asked_before_every_branch() -> None:
    rules = branching(8, beam_size=4)
    assert outcome(decide(rules, rises(1.0, 2.0), i=1, budget=4, mean=2.0)) == [(0, "pacing"), (2, None)]
    assert outcome(decide(rules, rises(1.0, 2.0), i=2, used=2, budget=4, mean=2.0)) == [(0, "budget"), (2, None)]
    unpaced = altered(rules, pacing="none")
    assert outcome(decide(unpaced, rises(1.0, 2.0), i=1, budget=4, mean=2.0)) == [(1, None), (3, None)]


def test_the_penalty_is_told_apart_from_the_threshold() -> None:
    rules = branching(8, tau=0.6)
    assert outcome(decide(rules, rises(0.6, 0.1, consecutive=2))) == [(0, "penalty"), (0, "threshold")]
    assert outcome(decide(rules, rises(0.6, consecutive=0))) == [(1, None)]
    assert outcome(decide(altered(rules, penalty=0.0), rises(0.6, consecutive=9))) == [(1, None)]


def test_what_the_rule_refuses_is_not_put_on_the_budget() -> None:
    assert outcome(decide(branching(8), rises(-1.0, 1.0), budget=0)) == [(0, "threshold"), (0, "budget")]


def test_bernoulli_compares_with_the_candidates_number() -> None:
    rules = branching(8, branch_rule="bernoulli")
    asked = [Candidate(0, 5.0, 5.0, 0, 0.49), Candidate(1, 5.0, 5.0, 0, 0.5), Candidate(2, 5.0, 5.0, 1, 0.49)]
    assert outcome(decide(rules, asked)) == [(1, None), (0, "threshold"), (0, "penalty")]


def test_the_reference_rule_records_how_often_it_branches() -> None:
    rules = branching(8, branch_rule="reference", tau=0.5, entropy_scale="nats")
    asked = [Candidate(0, 6.0, 5.0, 3, 0.389), Candidate(1, 6.0, 5.0, 3, 0.388), Candidate(2, 6.0, 5.0, 3, 0.2)]
    decisions = decide(rules, asked)
    assert outcome(decisions) == [(1, None), (0, "penalty"), (0, "threshold")]
    assert decisions[0].probability == pytest.approx(0.611765, abs=1e-6)


def test_the_random_rule_is_blind_to_entropy() -> None:
    rules = branching(8, branch_rule="random", pacing="none")
    numbers = (0.9, 0.1, 0.3, 0.49, 0.51)
    for entropy in (0.0, 5.0, 9.0):
        asked = [Candidate(path, entropy, 5.0, 20, u) for path, u in enumerate(numbers)]
        decisions = decide(rules, asked, budget=4, mean=2.0)
        assert outcome(decisions) == [(0, "threshold"), (1, None), (1, None), (1, None), (0, "threshold")]
        assert {d.probability for d in decisions} == {0.5}
        scarce = decide(rules, asked, budget=4, used=2, mean=2.0)
        assert outcome(scarce) == [(0, "threshold"), (1, None), (1, None), (0, "budget"), (0, "threshold")]


def test_the_random_rule_is_expected_to_spend_the_budget() -> None:
    rules = branching(8, branch_rule="random", pacing="none")
    questions, globals_, observations, budget = 2000, 4, 4, 4
    total = 0
    for question in range(questions):
        for i in range(1, observations + 1):
            asked = [Candidate(p, 1.0, 1.0, 0, uniform(noise_key(question, p), i)) for p in range(globals_)]
            total += sum(d.branches for d in decide(rules, asked, i, used=0, budget=budget, mean=observations))
    assert total / questions == pytest.approx(budget, rel=0.05)


@given(
    candidates,
    st.sampled_from(RULES),
    st.sampled_from(PACINGS),
    st.sampled_from(MODES),
    st.integers(1, 6),
    st.integers(0, 12),
    st.integers(0, 15),
    st.floats(0.0, 8.0),
    st.integers(2, 5),
    st.randoms(),
)
def test_limits_hold_whatever_the_rule_and_the_order(
    asked: list[Candidate],
    rule: str,
    pacing: str,
    scale: str,
    i: int,
    used: int,
    budget: int,
    mean: float,
    beam: int,
    random,
) -> None:
    rules = branching(16, beam_size=beam, branch_rule=rule, pacing=pacing, entropy_scale=scale)
    decisions = decide(rules, asked, i, used, budget, mean)
    started = sum(d.branches for d in decisions)
    assert len(decisions) == len(asked)
    assert used + started <= max(used, budget)
    assert used + started <= max(used, quota(budget, i, mean, pacing))
    for candidate, decision in zip(asked, decisions, strict=True):
        assert 0 <= decision.branches <= beam - 1
        assert 0.0 <= decision.probability <= 1.0
        assert (decision.entropy, decision.consecutive) == (candidate.entropy, candidate.consecutive)
        assert (decision.stopped_by is None) == (decision.branches > 0)
        assert decision.stopped_by in {None, "threshold", "penalty", "pacing", "budget"}
        if decision.stopped_by == "budget":
            assert used + started >= budget
        if decision.stopped_by == "pacing":
            assert budget > used + started >= quota(budget, i, mean)
        if decision.stopped_by == "penalty":
            assert decision.consecutive > 0
    order = list(range(len(asked)))
    random.shuffle(order)
    assert decide(rules, [asked[at] for at in order], i, used, budget, mean) == [decisions[at] for at in order]


@given(candidates)
def test_no_probability_is_passed_over(asked: list[Candidate]) -> None:
    decisions = decide(branching(16), asked, budget=3)
    served = [d.probability for d in decisions if d.branches]
    waiting = [d.probability for d in decisions if d.stopped_by == "budget"]
    if served and waiting:
        assert min(served) >= max(waiting)


def test_the_gap_decides_the_global_samples() -> None:
    rules = branching(8, beta=1.0)
    state = rules.initial_state(1000)
    assert [rules.global_samples(gap, state) for gap in (-9.0, -1.0, 0.0, 1.0, 9.0)] == [2, 2, 4, 6, 8]
    assert rules.head_start() == 2
    # On a run whose gaps are ten times as wide the same gap says a tenth.
    wide = state.updated([10.0, -10.0], [], [])
    assert rules.global_samples(1.0, wide) == 4
    assert branching(8, probes=3).head_start() == 3
    assert branching(12, min_global=0.0).head_start() == 1


@given(st.floats(-50.0, 50.0), st.integers(1, 32), st.data())
def test_the_head_start_is_never_more_than_the_global_samples(gap: float, k: int, data: st.DataObject) -> None:
    rules = branching(k, probes=data.draw(st.integers(1, k)), min_global=data.draw(st.floats(0.0, 1.0)))
    assert rules.probes <= rules.head_start() <= rules.global_samples(gap, rules.initial_state(1000)) <= k


def test_a_fixed_budget_asks_no_probe() -> None:
    rules = branching(8, dynamic_budget=False, initial_fraction=0.5)
    state = rules.initial_state(1000)
    assert (rules.probes, rules.head_start()) == (0, 4)
    assert rules.global_samples(None, state) == rules.global_samples(100.0, state) == 4
    assert branching(8, dynamic_budget=False, initial_fraction=0.01).head_start() == 1
    assert branching(7, dynamic_budget=False).head_start() == 4


def test_a_dynamic_budget_needs_a_gap() -> None:
    rules = branching(8)
    with pytest.raises(ValueError, match="needs the probes' entropy gap"):
        rules.global_samples(None, rules.initial_state(1000))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"group_size": 0}, "group_size is 0"),
        ({"probes": 0}, "probes\n  Input should be greater than or equal to 1"),
        ({"probes": 9}, "probes is 9"),
        ({"beam_size": 1}, "beam_size\n  Input should be greater than or equal to 2"),
        ({"min_global": 2.0}, "min_global\n  Input should be less than or equal to 1"),
        ({"initial_fraction": -1.0}, "initial_fraction\n  Input should be greater than 0"),
        ({"penalty": -0.1}, "penalty\n  Input should be greater than or equal to 0"),
        ({"depth_bonus": -0.1}, "depth_bonus\n  Input should be greater than or equal to 0"),
        ({"branch_time": "late"}, "branch_time\n  Input should be 'online' or 'retrospective'"),
        ({"entropy_window": 0}, "entropy_window\n  Input should be greater than or equal to 1"),
        ({"branch_rule": "coin"}, "branch_rule\n  Input should be 'threshold', 'bernoulli', 'reference' or 'random'"),
        ({"pacing": "odd"}, "pacing\n  Input should be 'even' or 'none'"),
        ({"entropy_scale": "bits"}, "entropy_scale\n  Input should be 'running', 'nats'"),
    ],
)
def test_impossible_explorations_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        branching(**{"group_size": 8, **fields})


# In retrospect.


LATE = branching(8, branch_time="retrospective")


def step(call: int, probability: float | None, u: float = 0.5) -> Step:
    """A call whose observation was given P; None: nobody asked about it."""
    decided = None if probability is None else BranchDecision(1.0, 0.0, 0, probability, 0, "budget")
    return Step(call, u, decided)


def path(number: int, *probabilities: float | None) -> Ended:
    """An ended path with its observations' P."""
    return Ended(number, [step(i, p) for i, p in enumerate(probabilities, 1)])


def at(*places: tuple[int, int]) -> list[Restart]:
    return [Restart(number, call) for number, call in places]


def test_in_retrospect_nobody_branches_at_once_and_the_probability_is_written_down() -> None:
    online, late = (decide(rules, rises(2.0, -1.0)) for rules in (branching(8), LATE))
    assert outcome(online) == [(1, None), (0, "threshold")]
    assert outcome(late) == [(0, "budget"), (0, "budget")]
    assert [d.probability for d in late] == [d.probability for d in online]


def test_the_best_observations_are_branched_at_whatever_the_threshold() -> None:
    ended = [path(0, 0.2, 0.4, 0.1), path(1, 0.3), path(2)]
    rules = altered(LATE, depth_bonus=0.0)
    assert rules.restarts(ended, 3, 2.0) == at((0, 2), (1, 1), (0, 1))
    assert rules.restarts(ended, 9, 2.0) == at((0, 2), (1, 1), (0, 1), (0, 3))


def test_depth_is_worth_its_share_of_the_bonus() -> None:
    # 0.5 + 0.3 / 3 against 0.35 + 0.3 * 3 / 3.
    assert LATE.restarts([path(0, 0.5, 0.0, 0.35)], 3, 3.0) == at((0, 3), (0, 1), (0, 2))
    assert altered(LATE, depth_bonus=0.05).restarts([path(0, 0.5, 0.0, 0.35)], 3, 3.0) == at((0, 1), (0, 3), (0, 2))
    assert hindsight_score(0.35, 3, 3.0) == pytest.approx(0.65)
    assert hindsight_score(0.5, 2, 0.0, depth_bonus=0.1) == pytest.approx(0.7), "T is taken as at least 1"


def test_each_observation_takes_beam_size_minus_one_branches() -> None:
    rules = altered(LATE, beam_size=3, depth_bonus=0.0)
    assert rules.restarts([path(0, 0.9, 0.1), path(1, 0.5)], 3, 1.0) == at((0, 1), (0, 1), (1, 1))
    assert rules.restarts([path(0, 0.9), path(1, 0.5)], 9, 1.0) == at((0, 1), (0, 1), (1, 1), (1, 1))


def test_ties_go_by_path_and_then_by_observation() -> None:
    rules = altered(LATE, depth_bonus=0.0)
    assert rules.restarts([path(1, 0.5, 0.5), path(0, 0.5)], 3, 1.0) == at((0, 1), (1, 1), (1, 2))


def test_the_random_rule_goes_by_its_numbers_alone() -> None:
    ended = [Ended(0, [step(1, 0.9, 0.7), step(2, 0.1, 0.2)]), Ended(1, [step(1, 0.5, 0.4)])]
    assert altered(LATE, branch_rule="random").restarts(ended, 2, 1.0) == at((0, 2), (1, 1))


def test_an_observation_that_nobody_asked_about_is_passed_over() -> None:
    assert LATE.restarts([path(0, None, 0.1), path(1, None)], 3, 1.0) == at((0, 2))


def test_online_nobody_restarts() -> None:
    assert branching(8).restarts([path(0, 0.9, 0.9)], 4, 1.0) == []


@given(
    st.lists(st.lists(st.none() | st.floats(0.0, 1.0), max_size=5), max_size=5),
    st.integers(0, 9),
    st.floats(1.0, 6.0),
    st.integers(2, 4),
    st.sampled_from(RULES),
    st.randoms(),
)
def test_restarts_fit_the_slots_and_leave_nothing_better(
    told: list[list[float | None]], slots: int, mean: float, beam: int, rule: str, random
) -> None:
    rules = altered(LATE, beam_size=beam, branch_rule=rule)
    ended = [path(number, *probabilities) for number, probabilities in enumerate(told)]
    found = rules.restarts(ended, slots, mean)
    askable = {
        (p.path, s.observation): s.decision.probability for p in ended for s in p.steps if s.decision is not None
    }
    assert len(found) == min(slots, (beam - 1) * len(askable))
    assert all(not r.before_call and found.count(r) <= beam - 1 for r in found)
    taken = {(r.path, r.observation) for r in found}
    assert taken <= askable.keys()
    if rule != "random" and taken and len(found) == slots:
        scores = {place: hindsight_score(p, place[1], mean, rules.settings.depth_bonus) for place, p in askable.items()}
        assert min(scores[place] for place in taken) >= max((scores[p] for p in askable.keys() - taken), default=-1.0)
    random.shuffle(ended)
    assert rules.restarts(ended, slots, mean) == found
