"""Groups: who starts where and when, that decisions are the rules' alone, that nothing depends on who answers first."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from aepo.core.branching import PACINGS, RULES, quota
from aepo.core.entropy_branching import EntropyBranching
from aepo.core.exploration import Candidate, Exploration, ExplorationState, IndependentSamples
from aepo.core.noise import uniform
from aepo.core.scale import MODES
from aepo.rollout import generator as engine
from aepo.rollout.agent import Agent, OnFormatError
from aepo.rollout.explorer import RolloutError, Seeds, executed_calls, explore
from aepo.rollout.generator import Sampled, Stop
from aepo.rollout.growing import PathLost, Question
from aepo.rollout.path import Limits
from aepo.types import (
    BranchDecision,
    Group,
    Kind,
    Leaf,
    Node,
    Origin,
    StopReason,
    ToolError,
    ToolStatus,
    Trajectory,
    TrajectoryTree,
)
from tests.rollout.toy import (
    CALL,
    GENEROUS,
    SEEDS,
    VOCABULARY,
    WORD,
    Place,
    Script,
    ToyGenerator,
    ToyProtocol,
    alone,
    asking,
    decode,
    echo,
    key_of,
    questions,
    run,
    wild,
)
from tests.rollout.trees import (
    between,
    branched,
    check_limits,
    check_tokens,
    decided,
    depth,
    last_sample,
    origins,
    own,
    starts,
    window_entropy,
)
from tests.rules import altered, branching

# Every branch that the rule could refuse is allowed: what is left to decide are slots, pacing and order.
EAGER = branching(6, tau=-1.0, pacing="none", entropy_window=2, entropy_scale="nats", min_global=0.0)


def fixed(size: int, globals_: int, **fields: object) -> EntropyBranching:
    """Let m of k start from the question whatever the probes would say."""
    rules = altered(EAGER, group_size=size, dynamic_budget=False, initial_fraction=globals_ / size, **fields)
    assert rules.head_start() == globals_
    return rules


# What holds for every group.


def check_starts(tree: TrajectoryTree, rules: Exploration) -> None:
    """Exactly k leaves; probes are the first paths, then the other globals, then branches, then left-overs."""
    m = tree.global_samples
    assert [leaf.path for leaf in tree.leaves] == list(range(rules.group_size))
    assert rules.head_start() <= m <= rules.group_size
    branches = sum(decision.branches for decision in decided(tree).values())
    assert branches <= rules.group_size - m
    assert origins(tree) == (
        [Origin.PROBE] * rules.probes
        + [Origin.GLOBAL] * (m - rules.probes)
        + [Origin.BRANCH] * branches
        + [Origin.LEFTOVER] * (rules.group_size - m - branches)
    )


def check_leaf(tree: TrajectoryTree, leaf: Leaf, rules: Exploration) -> None:
    """A path begins at the question, or right after an observation of an earlier path and inherits from it."""
    first = own(tree, leaf.path)[0]
    assert first.parent is not None
    assert first.kind is Kind.POLICY
    assert leaf.node == own(tree, leaf.path)[-1].id
    begun_at = tree.nodes[first.parent]
    if leaf.origin is Origin.BRANCH:
        assert leaf.parent_path is not None
        assert (begun_at.kind, begun_at.path) == (Kind.OBSERVATION, leaf.parent_path)
        assert begun_at.decision is not None
        assert begun_at.decision.branches > 0
        assert leaf.depth == depth(tree, begun_at.id)
        assert leaf.root_entropy == tree.leaves[leaf.parent_path].root_entropy
    else:
        assert (begun_at.id, leaf.parent_path, leaf.depth) == (0, None, 0)
        assert leaf.root_entropy == window_entropy(first, rules)


def check_decisions(tree: TrajectoryTree, rules: Exploration, state: ExplorationState, seeds: Seeds, q: str) -> None:
    """All observations of paths that may branch were decided, i = 1, 2, ..., each i together, by the rules alone."""
    seen: dict[int, list[tuple[Node, BranchDecision]]] = {}
    for node in tree.nodes:
        if node.results and node.tokens and tree.leaves[node.path].origin is not Origin.LEFTOVER:
            assert node.decision is not None
            seen.setdefault(depth(tree, node.id), []).append((node, node.decision))
    probes = range(rules.probes)
    counted = [sum(n.results != () and n.tokens != [] for n in own(tree, path)) for path in probes]
    mean = state.mean_observations if state.mean_observations is not None else sum(counted) / max(1, len(counted))
    in_a_row = {leaf.path: 0 for leaf in tree.leaves if leaf.origin is not Origin.BRANCH}
    used, budget = 0, rules.group_size - tree.global_samples
    for number in sorted(seen):
        nodes = sorted(seen[number], key=lambda pair: pair[0].path)
        candidates = []
        for node, _ in nodes:
            (after,) = [n for n in tree.nodes if n.parent == node.id and n.path == node.path]
            draw = uniform(key_of(node.path, q, seeds), -number)
            root = tree.leaves[node.path].root_entropy
            candidates.append(Candidate(node.path, window_entropy(after, rules), root, in_a_row[node.path], draw))
        expected = rules.decide(candidates, number, used, budget, max(1.0, mean), state)
        assert [decision for _, decision in nodes] == expected
        for node, decision in nodes:
            in_a_row[node.path] = in_a_row[node.path] + 1 if rules.in_streak(decision) else 0
            begun = [leaf for leaf in tree.leaves if leaf.parent_path == node.path and leaf.depth == number]
            assert len(begun) == decision.branches
            in_a_row |= {leaf.path: in_a_row[node.path] for leaf in begun}
        used += sum(decision.branches for decision in expected)


@st.composite
def any_rules(draw: st.DrawFn) -> Exploration:
    size = draw(st.integers(2, 12))
    if draw(st.integers(0, 9)) == 0:
        return IndependentSamples(size)
    return branching(
        size,
        beam_size=draw(st.integers(2, 4)),
        probes=draw(st.integers(1, min(3, size))),
        dynamic_budget=draw(st.booleans()),
        beta=draw(st.sampled_from([0.5, 1.0, 5.0])),
        min_global=draw(st.sampled_from([0.0, 0.25, 1.0])),
        initial_fraction=draw(st.sampled_from([0.01, 0.5, 1.0])),
        gamma=draw(st.sampled_from([0.2, 1.0])),
        tau=draw(st.sampled_from([0.3, 0.5, 0.6])),
        penalty=draw(st.sampled_from([0.05, 0.5])),
        branch_rule=draw(st.sampled_from(RULES)),
        pacing=draw(st.sampled_from(PACINGS)),
        entropy_scale=draw(st.sampled_from(MODES)),
        entropy_window=draw(st.sampled_from([1, 2, 20])),
    )


PRESETS = [
    branching(12, tau=0.6),
    branching(12, tau=0.5, entropy_scale="log_vocab", pacing="none", min_global=0.0),
    branching(12, branch_rule="reference", tau=0.5, entropy_scale="reference", pacing="none", min_global=0.0, beta=0.5),
    branching(12, dynamic_budget=False, penalty=0.0, tau=0.5),
]


def chatty(at: Place) -> int:
    """Calls tools until the limit, mostly."""
    return CALL if at.draw > 0.7 else wild(at)


@settings(max_examples=120)
@given(
    rules=any_rules() | st.sampled_from(PRESETS),
    limits=st.builds(Limits, st.sampled_from([1, 8, 20, 60, 400]), st.integers(0, 5)),
    seeds=st.builds(Seeds, st.integers(0, 2**64), st.integers(0, 10**6) | st.just("test")),
    later=st.booleans(),
    on_format_error=st.sampled_from(["end", "tell"]),
)
def test_every_group_is_whole_and_by_the_rules(
    rules: Exploration, limits: Limits, seeds: Seeds, later: bool, on_format_error: OnFormatError
) -> None:
    state = rules.initial_state(VOCABULARY)
    if later:
        state = state.updated([0.5, -0.25], [0.5, 1.0, -0.75], [1, 2, 3])
    asked: list[str] = []

    async def answer(what: str) -> str:
        asked.append(what)
        if what.startswith("1"):
            raise ToolError("no")
        return what[:3] if len(what) % 2 else what * 20

    generator, tools = ToyGenerator(), [asking(answer)]
    groups = run(generator, rules, questions(2), tools, limits, state, seeds, on_format_error=on_format_error)
    group, other = groups
    for each in (group, other):
        check_starts(each.tree, rules)
        for leaf in each.tree.leaves:
            check_leaf(each.tree, leaf, rules)
        check_limits(each, limits)
        check_tokens(each.tree, generator, seeds, each.sample.id)
        if rules.head_start() < rules.group_size:
            check_decisions(each.tree, rules, state, seeds, each.sample.id)
        assert TrajectoryTree.from_json(each.tree.to_json()) == each.tree
    assert executed_calls(group.tree) + executed_calls(other.tree) == len(asked)
    assert len(generator.keys("open")) == 2
    assert sorted(generator.keys("close")) == sorted(generator.keys("open", "fork")) == sorted(generator.keys("end"))


def test_wild_groups_show_every_way_to_begin_and_to_end() -> None:
    """What the property test above is worth."""

    async def answer(what: str) -> str:
        return what[:3] if len(what) % 2 else what * 20

    rules, limits = altered(PRESETS[0], group_size=8), Limits(60, 4)
    groups = run(ToyGenerator(), rules, questions(60), [asking(answer)], limits, on_format_error="tell")
    leaves = [leaf for group in groups for leaf in group.tree.leaves]
    assert {leaf.origin for leaf in leaves} == set(Origin) - {Origin.RESAMPLED}
    assert {leaf.stop_reason for leaf in leaves} == set(StopReason) - {
        StopReason.TIME,
        StopReason.DONE,
        StopReason.LOST,
    }
    nodes = [node for group in groups for node in group.tree.nodes]
    assert any(result.cut for node in nodes for result in node.results)
    assert any(node.error is not None for node in nodes)
    decisions = [decision for group in groups for decision in decided(group.tree).values()]
    assert {decision.stopped_by for decision in decisions} >= {None, "threshold", "budget", "pacing"}
    assert max(decision.consecutive for decision in decisions) > 1
    assert len({group.tree.global_samples for group in groups}) > 2
    assert any(not group.tree.nodes[leaf.node].tokens for group in groups for leaf in group.tree.leaves)


# When paths start.


def test_globals_start_together_once_all_probes_have_ended() -> None:
    script = Script(lambda path: 1, lambda path, turn: 2.0 - turn)
    generator = script.generator()
    (group,) = run(generator, altered(EAGER, probes=2, beta=5.0))
    assert origins(group.tree) == [Origin.PROBE] * 2 + [Origin.GLOBAL] * 4
    assert generator.events[starts(generator, 0)].what == "open"
    assert between(generator, [0, 1]) == {"open", "fork"}
    assert between(generator, [2, 3, 4, 5]) == {"fork"}
    assert starts(generator, 2) > max(last_sample(generator, 0), last_sample(generator, 1))


def test_those_that_start_whatever_the_probes_say_do_not_wait_for_them() -> None:
    script = Script(lambda path: 1, lambda path, turn: 2.0 - turn)
    generator = script.generator()
    (group,) = run(generator, altered(EAGER, min_global=0.5))
    assert between(generator, [0, 1, 2]) == {"open", "fork"}
    assert origins(group.tree)[:3] == [Origin.PROBE, Origin.GLOBAL, Origin.GLOBAL]


def test_left_overs_start_together_when_everything_else_has_ended() -> None:
    script = Script(lambda path: path % 3, lambda path, turn: 2.0 - turn)
    generator = script.generator()
    (group,) = run(generator, fixed(8, 4, tau=0.6))
    assert origins(group.tree) == [Origin.GLOBAL] * 4 + [Origin.LEFTOVER] * 4
    assert between(generator, [4, 5, 6, 7]) == {"fork"}
    assert starts(generator, 4) > max(last_sample(generator, path) for path in range(4))
    assert {event.length for event in generator.events if event.what == "fork"} == {len(group.tree.nodes[0].tokens)}


def test_independent_samples_start_together_and_decide_nothing() -> None:
    generator = Script(lambda path: 2).generator()
    (group,) = run(generator, IndependentSamples(7))
    assert origins(group.tree) == [Origin.GLOBAL] * 7
    assert between(generator, list(range(7))) == {"open", "fork"}
    assert (decided(group.tree), group.tree.gap, group.tree.global_samples) == ({}, None, 7)
    # Nobody peeks: a turn is asked for in one call.
    assert generator.keys("sampled").count(key_of(3)) == 3


# Where branches start, and what they inherit.


def test_a_branch_starts_after_the_observation_without_the_tokens_that_were_peeked_at() -> None:
    script = Script(lambda path: 2, lambda path, turn: 5.0 if (path, turn) == (1, 2) else 1.0)
    generator = script.generator()
    (group,) = run(generator, fixed(4, 2, alpha=0.0, gamma=1.0, tau=1.0 - 1e-9))
    tree = group.tree
    assert branched(tree) == [(1, 2)]
    parent, branch = (list(group.trajectories())[path] for path in (1, 2))
    shared = next(at for at, (a, b) in enumerate(zip(parent.tokens, branch.tokens, strict=True)) if a != b)
    assert shared == parent.prompt_length + 4 + 4 + 4 + 4  # two turns of four, two results of a mark and three letters
    assert branch.tokens[shared] == WORD + 2
    assert parent.tokens[shared] == WORD + 1
    assert tree.walk(tree.leaves[2].node)[:-1] == tree.walk(tree.leaves[1].node)[:-1]
    fork = generator.events[starts(generator, 2)]
    assert (fork.what, fork.length) == ("fork", shared)


def test_a_branch_inherits_root_entropy_calls_and_branches_in_a_row() -> None:
    # Path 0 rises after each of three observations, its branches' own turns too.
    script = Script(lambda path: 3, lambda path, turn: 0.25 + path / 8 if turn == 0 else 3.0)
    (group,) = run(script.generator(), fixed(4, 1), limits=Limits(10_000, 3))
    tree = group.tree
    assert branched(tree) == [(0, 1), (0, 2), (1, 2)]
    assert [leaf.root_entropy for leaf in tree.leaves] == [0.25] * 4
    assert {at: (d.consecutive, d.branches, d.delta) for at, d in decided(tree).items()} == {
        (0, 1): (0, 1, 2.75),
        (0, 2): (1, 1, 2.75),
        (1, 2): (1, 1, 2.75),  # begun by the branching at 1: it inherits that l + 1
        (0, 3): (2, 0, 2.75),
        (1, 3): (2, 0, 2.75),
        (2, 3): (2, 0, 2.75),
        (3, 3): (2, 0, 2.75),
    }
    assert [len(t.calls) for t in group.trajectories()] == [3] * 4


def test_inherited_calls_count_towards_the_limit() -> None:
    script = Script(lambda path: 9, lambda path, turn: float(turn == 2))
    (group,) = run(script.generator(), fixed(3, 1, tau=0.6), limits=Limits(10_000, 3))
    assert branched(group.tree) == [(0, 2)]
    assert [leaf.stop_reason for leaf in group.tree.leaves] == [StopReason.TOOL_LIMIT] * 3
    assert [sum(len(n.results) for n in own(group.tree, path)) for path in range(3)] == [3, 1, 3]


def test_branches_in_a_row_start_again_after_an_observation_without_one() -> None:
    rises = {1: 1.0, 2: 1.0, 3: -1.0, 4: 1.0}
    script = Script(lambda path: 4 if path == 0 else 0, lambda path, turn: 2.0 + rises.get(turn, 0.0))
    (group,) = run(script.generator(), fixed(6, 1, tau=0.6))
    tree = group.tree
    assert [(i, decided(tree)[0, i].consecutive, decided(tree)[0, i].branches) for i in range(1, 5)] == [
        (1, 0, 1),
        (2, 1, 1),
        (3, 2, 0),
        (4, 0, 1),
    ]
    assert origins(tree).count(Origin.LEFTOVER) == 2


@pytest.mark.parametrize(("streak", "expected"), [("uncertain", [0, 1, 2, 3, 4, 0]), ("branches", [0, 1, 0, 1, 0, 0])])
def test_l_counts_uncertain_observations_or_branches(streak: str, expected: list[int]) -> None:
    # Above the threshold 1 1 1 1 0 1; of three branches for six observations pacing allows the 1st, 3rd and 5th.
    rises = {1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0, 5: -1.0, 6: 1.0}
    script = Script(lambda path: 6 if path == 0 else 0, lambda path, turn: 2.0 + rises.get(turn, 0.0))
    rules = fixed(4, 1, tau=0.6, penalty=0.0, pacing="even", streak=streak)
    state = replace(rules.initial_state(100), mean_observations=6.0)
    (group,) = run(script.generator(), rules, state=state)
    tree = group.tree
    assert [decided(tree)[0, i].stopped_by for i in (1, 2, 3, 4, 5)] == [None, "pacing", None, "pacing", "threshold"]
    assert [decided(tree)[0, i].consecutive for i in range(1, 7)] == expected


def test_each_observation_gets_up_to_beam_size_minus_one_branches() -> None:
    script = Script(lambda path: 1, lambda path, turn: float(turn))
    (group,) = run(script.generator(), fixed(8, 2, beam_size=4))
    assert branched(group.tree) == [(0, 1)] * 3 + [(1, 1)] * 3
    (group,) = run(script.generator(), fixed(8, 3, beam_size=4))
    assert branched(group.tree) == [(0, 1)] * 3 + [(1, 1)] * 2


def test_observations_of_an_ended_probe_are_branched_at() -> None:
    script = Script(lambda path: 2, lambda path, turn: 3.0 * turn, size=4)
    generator = script.generator()
    (group,) = run(generator, altered(EAGER, group_size=4, beta=5.0))
    assert (group.tree.global_samples, origins(group.tree)[0]) == (1, Origin.PROBE)
    assert branched(group.tree) == [(0, 1), (0, 2), (1, 2)]
    assert starts(generator, 1) > last_sample(generator, 0)


def test_the_highest_probability_comes_first_when_slots_are_short() -> None:
    heights = [1.0, 2.0, 4.0, 3.0]
    script = Script(lambda path: 1, lambda path, turn: heights[path % 4] * turn)
    (group,) = run(script.generator(), fixed(6, 4, gamma=0.1))
    assert branched(group.tree) == [(2, 1), (3, 1)]
    stopped = [decided(group.tree)[path, 1].stopped_by for path in range(4)]
    assert stopped == ["budget", "budget", None, None]


@pytest.mark.parametrize("mean", [1.5, 2.0, 3.0, 4.0])
def test_pacing_spreads_the_budget_over_the_observations(mean: float) -> None:
    script = Script(lambda path: 4, lambda path, turn: float(turn), size=12)
    rules = fixed(12, 6, pacing="even")
    state = rules.initial_state(VOCABULARY).updated([], [], [mean])
    (group,) = run(script.generator(), rules, state=state)
    used = [sum(i <= number for _, i in branched(group.tree)) for number in range(1, 5)]
    # There are always enough candidates, so the limit is not only kept but reached.
    assert used == [min(6, math.ceil(6 * i / mean)) for i in range(1, 5)]
    assert used == [quota(6, i, mean) for i in range(1, 5)]


def test_the_first_step_paces_by_the_probes_of_the_question() -> None:
    script = Script(lambda path: 3, lambda path, turn: float(turn), size=12)
    (group,) = run(script.generator(), altered(EAGER, group_size=12, min_global=0.5, pacing="even", beta=5.0))
    assert group.tree.global_samples == 6
    assert [i for _, i in branched(group.tree)] == [1, 1, 2, 2, 3, 3]


# The gap.


def test_the_gap_is_the_mean_over_the_probes_of_root_minus_after_tools() -> None:
    table = {0: [4.0, 1.0, 2.0], 1: [3.0, 2.5]}
    script = Script(
        lambda path: [2, 1, 0][min(path, 2)], lambda path, turn: table[path][turn] if path in table else 1.0
    )
    (group,) = run(script.generator(), altered(EAGER, probes=2, beta=0.3))
    assert group.tree.gap == ((4.0 - (1.0 + 2.0) / 2) + (3.0 - 2.5)) / 2 == 1.5
    assert group.tree.global_samples == math.floor(6 / (1 + math.exp(-0.3 * 1.5)) + 0.5) == 4


def test_the_gap_is_of_the_first_tokens_of_each_segment() -> None:
    def entropy(at: Place) -> float:
        return [1.0, 3.0, 100.0, 100.0][at.number] * (1 + at.turn)

    generator = ToyGenerator(Script(lambda path: 1).policy, entropy)
    (group,) = run(generator, EAGER)
    assert group.tree.gap == 2.0 - 4.0


def test_a_probe_that_calls_no_tool_has_no_gap() -> None:
    script = Script(lambda path: int(path == 1), lambda path, turn: 3.0 - turn)
    (group,) = run(script.generator(), EAGER)
    assert (group.tree.gap, group.tree.global_samples) == (0.0, 3)
    (group,) = run(script.generator(), altered(EAGER, probes=2))
    assert group.tree.gap == (0.0 + 1.0) / 2


def test_the_gap_is_known_even_when_it_can_change_nothing() -> None:
    script = Script(lambda path: 1, lambda path, turn: 3.0 - turn)
    (group,) = run(script.generator(), altered(EAGER, min_global=1.0))
    assert (group.tree.gap, group.tree.global_samples) == (1.0, 6)
    (group,) = run(script.generator(), altered(EAGER, group_size=2, probes=2))
    assert (group.tree.gap, group.tree.global_samples) == (1.0, 2)


def test_without_probes_there_is_no_gap() -> None:
    (group,) = run(Script(lambda path: 1).generator(), fixed(6, 3))
    assert (group.tree.gap, group.tree.global_samples) == (None, 3)


# Who waits for whom.


def test_nobody_branches_before_all_paths_have_shown_their_entropy_and_no_path_waits_for_it() -> None:
    script = Script(lambda path: 2, lambda path, turn: float(turn))
    generator = script.generator()
    seen: list[tuple[list[int], list[str]]] = []

    async def answer(what: str) -> str:
        if what == "1 0 0":  # the first call of path 1 takes until its siblings have come to their ends
            await generator.end_of(key_of(0)).wait()
            await generator.end_of(key_of(2)).wait()
            seen.append((generator.keys("open", "fork"), asked[:]))
        asked.append(what)
        return what

    asked: list[str] = []
    (group,) = run(generator, fixed(5, 3), tools=[asking(answer)])
    assert seen == [([key_of(0), key_of(1), key_of(2)], ["0 0 0", "2 0 0", "0 1 0", "2 1 0"])]
    assert branched(group.tree) == [(0, 1), (1, 1)]


def test_a_decision_waits_for_the_branches_of_the_one_before() -> None:
    script = Script(lambda path: 2, lambda path, turn: {0: 1.0, 3: 9.0}.get(path, 2.0) * turn)
    generator = script.generator()

    async def answer(what: str) -> str:
        if what == "3 1 0":  # the branch's first own call takes until all others have ended
            for path in (0, 1, 2):
                await generator.end_of(key_of(path)).wait()
        return what

    (group,) = run(generator, fixed(5, 3, pacing="even", gamma=0.1), tools=[asking(answer)], state=paced(2.0))
    assert branched(group.tree) == [(1, 1), (3, 2)]


def paced(mean: float) -> ExplorationState:
    return EAGER.initial_state(VOCABULARY).updated([], [], [mean])


def test_an_ended_path_is_not_waited_for() -> None:
    script = Script(lambda path: 0 if path == 1 else 2, lambda path, turn: float(turn))
    (group,) = run(script.generator(), fixed(4, 2))
    assert branched(group.tree) == [(0, 1), (0, 2)]


def test_a_slow_tool_holds_up_its_own_question_only() -> None:
    script = Script(lambda path: 2, lambda path, turn: float(turn), questions=6)
    generator = script.generator(max_sequences=2 * 6)

    async def answer(what: str) -> str:
        if what == "0 0 0":  # question 0 has room next to one other at a time
            for question in range(1, 6):
                for path in range(6):
                    await generator.end_of(key_of(path, f"q{question}")).wait()
        return what

    groups = run(generator, EAGER, questions(6), [asking(answer)])
    assert [len(group.tree.leaves) for group in groups] == [6] * 6


def test_no_more_paths_at_once_than_the_engine_has_room_for() -> None:
    generator = ToyGenerator(max_sequences=2 * 6 + 5)
    groups = run(generator, EAGER, questions(50), limits=Limits(60, 3))
    assert [group.sample.id for group in groups] == [f"q{number}" for number in range(50)]
    assert {len(group.tree.leaves) for group in groups} == {6}
    assert generator.peak == 2 * 6 + 5


@settings(max_examples=60)
@given(
    rules=any_rules() | st.sampled_from(PRESETS),
    limits=st.builds(Limits, st.sampled_from([1, 20, 60, 400]), st.integers(0, 5)),
    room=st.integers(1, 20),
    seed=st.integers(0, 2**32),
)
def test_groups_are_the_same_with_any_room_and_any_tools(
    rules: Exploration, limits: Limits, room: int, seed: int
) -> None:
    """Down to a room of one path: nobody waits for ever, and nothing is decided otherwise."""
    chance = random.Random(seed)

    async def answer(what: str) -> str:
        for _ in range(chance.choice([0, 1, 5, 40])):
            await checkpoint()
        return await echo(what)

    roomy = run(ToyGenerator(chatty), rules, questions(4), limits=limits)
    small = ToyGenerator(chatty, max_sequences=room, delay=lambda: chance.choice([0, 1, 4]))
    assert run(small, rules, questions(4), [asking(answer)], limits) == roomy
    assert small.peak <= room


def test_the_room_of_a_path_that_ends_passes_on_at_once() -> None:
    script = Script(lambda path: 2 if path else 0, questions=2)
    generator = script.generator(max_sequences=6)
    run(generator, IndependentSamples(6), questions(2))
    begun = [event.key for event in generator.events if event.what in ("open", "fork")]
    assert begun == [key_of(path, question) for question in ("q0", "q1") for path in range(6)]
    events = [(event.what, event.key) for event in generator.events]
    ended = events.index(("end", key_of(0)))
    assert events[ended + 1] == ("open", key_of(0, "q1"))
    assert all(what != "end" for what, _ in events[:ended])


def test_the_next_question_begins_while_a_probe_runs() -> None:
    script = Script(lambda path: 3, questions=3)
    generator = script.generator(max_sequences=3)
    run(generator, EAGER, questions(3))
    begun = [event.key for event in generator.events if event.what in ("open", "fork")]
    assert begun[:3] == [key_of(0, f"q{number}") for number in range(3)]


def test_a_deterministic_engine_grows_whole_groups() -> None:
    generator = ToyGenerator(max_sequences=2 * 6 + 5, deterministic=True)
    assert run(generator, EAGER, questions(20)) == run(ToyGenerator(), EAGER, questions(20))
    assert 6 < generator.peak <= 2 * 6
    with pytest.raises(
        ValueError, match="grows whole groups of 6 sequences, and there is room for 5; raise max_sequences"
    ):
        run(ToyGenerator(max_sequences=5, deterministic=True), EAGER)
    assert len(run(ToyGenerator(max_sequences=6, deterministic=True), EAGER)) == 1


def test_no_questions_give_no_groups() -> None:
    assert run(ToyGenerator(), EAGER, []) == []


# The same run gives the same tree.

ORDERLESS = [
    altered(EAGER, group_size=8, tau=0.5),
    fixed(8, 4, tau=0.5, pacing="even"),
    altered(EAGER, group_size=12, probes=3, beam_size=3, pacing="even", min_global=0.25, tau=0.5),
    branching(12, branch_rule="bernoulli", entropy_window=1),
    branching(12, branch_rule="random", entropy_window=2),
    IndependentSamples(8),
]


@pytest.mark.parametrize("rules", ORDERLESS)
def test_the_order_in_which_tools_answer_changes_nothing(rules: Exploration) -> None:
    def explored(answer: Callable[[str], Awaitable[str]], pause: Callable[[], int]) -> list[TrajectoryTree]:
        generator = ToyGenerator(chatty, delay=pause)
        groups = run(generator, rules, questions(3), [asking(answer)], Limits(200, 4))
        ran.add(tuple(generator.events))
        return [group.tree for group in groups]

    ran: set[tuple[object, ...]] = set()
    first = explored(echo, lambda: 0)
    for shuffle in range(20):
        chance = random.Random(shuffle)

        async def answer(what: str, chance: random.Random = chance) -> str:
            for _ in range(chance.choice([0, 1, 5, 40])):
                await checkpoint()
            return await echo(what)

        assert explored(answer, lambda chance=chance: chance.choice([0, 1, 4])) == first
    assert len(ran) > 10  # the runs did differ
    assert any(len(decided(tree)) > 1 for tree in first) or isinstance(rules, IndependentSamples)


def test_tools_released_in_any_order_give_the_same_tree() -> None:
    """Paths 0 to 3 call at once; their first calls are answered in each of the 24 orders."""
    script = Script(lambda path: 2 + path % 2, lambda path, turn: (1.0 + path % 3) * turn)

    def explored(order: list[int]) -> TrajectoryTree:
        gates = {f"{path} 0 0": anyio.Event() for path in range(4)}
        following = dict(zip([f"{path} 0 0" for path in order], [f"{path} 0 0" for path in order[1:]], strict=False))

        async def answer(what: str) -> str:
            if what == f"{order[0]} 0 0":
                gates[what].set()
            if what in gates:
                await gates[what].wait()
                for _ in range(25):  # long enough for its path to go on to its end
                    await checkpoint()
                if what in following:
                    gates[following[what]].set()
            return what

        (group,) = run(script.generator(), fixed(8, 4, pacing="even", gamma=0.1), tools=[asking(answer)])
        return group.tree

    orders = [random.Random(seed).sample(range(4), 4) for seed in range(20)]
    first = explored([0, 1, 2, 3])
    assert branched(first)
    for order in orders:
        assert explored(order) == first


@pytest.mark.parametrize("seeds", [Seeds(7, 4), Seeds(8, 3), Seeds(7, "3")])
def test_another_step_or_seed_gives_another_tree(seeds: Seeds) -> None:
    (tree,) = (group.tree for group in run(ToyGenerator(), EAGER))
    assert tree == run(ToyGenerator(), EAGER)[0].tree
    assert tree != run(ToyGenerator(), EAGER, seeds=seeds)[0].tree


def test_the_same_question_under_another_id_gives_another_tree() -> None:
    samples = [replace(questions()[0], id=name) for name in ("a", "b")]
    a, b = run(ToyGenerator(), EAGER, samples)
    assert a.tree.nodes[0].tokens == b.tree.nodes[0].tokens
    assert a.tree != b.tree


def test_a_question_does_not_depend_on_the_others() -> None:
    alone = [run(ToyGenerator(), EAGER, [sample])[0] for sample in questions(4)]
    assert run(ToyGenerator(max_sequences=6), EAGER, questions(4)) == alone
    assert run(ToyGenerator(max_sequences=1), EAGER, questions(4)) == alone


def test_the_state_is_left_as_it_was() -> None:
    rules = PRESETS[0]
    state = rules.initial_state(VOCABULARY)
    before = state.to_dict()
    run(ToyGenerator(), rules, state=state)
    assert state.to_dict() == before


# Tools that fail, and other failures.


def test_calls_are_counted_once_and_only_if_they_ran() -> None:
    script = Script(lambda path: 2, lambda path, turn: float(turn == 1))
    (group,) = run(script.generator(), fixed(4, 1, beam_size=4, tau=0.6))
    assert branched(group.tree) == [(0, 1)] * 3
    assert sum(len(t.calls) for t in group.trajectories()) == 8
    assert executed_calls(group.tree) == 5

    (group,) = run(script.generator(), fixed(4, 1, beam_size=4, tau=0.6), tools=[])
    assert [status for _, status in results(group.tree)] == [ToolStatus.BAD_ARGUMENTS] * 5
    assert executed_calls(group.tree) == 0


def results(tree: TrajectoryTree) -> list[tuple[str, ToolStatus]]:
    return [(result.text, result.status) for n in tree.nodes for result in n.results]


def test_a_tool_error_reaches_the_model_and_is_no_failure() -> None:
    async def answer(what: str) -> str:
        raise ToolError(f"no {what}")

    (group,) = run(Script(lambda path: 1).generator(), fixed(4, 2), tools=[asking(answer)])
    observed = [n for n in group.tree.nodes if n.kind is Kind.OBSERVATION]
    assert [decode(n.tokens) for n in observed] == ["no 0 0 0", "no 1 0 0"]
    assert {status for _, status in results(group.tree)} == {ToolStatus.ERROR}
    assert branched(group.tree) == [(0, 1), (1, 1)]


def breaking(what: str, generator: ToyGenerator, after: list[int]) -> Callable[[str], Awaitable[str]]:
    async def answer(asked: str) -> str:
        if asked == what:
            for path in after:
                await generator.end_of(key_of(path)).wait()
            raise KeyError("page")
        return asked

    return answer


def test_a_bug_in_a_tool_stops_the_run_and_shows_what_there_was() -> None:
    script = Script(lambda path: 2)
    generator = script.generator()
    with pytest.raises(RolloutError, match="sample 'q0': tool ask raised KeyError: 'page'") as caught:
        run(generator, fixed(4, 3), tools=[asking(breaking("1 1 0", generator, [0, 2, 3]))])
    error = caught.value
    assert isinstance(error.bug.original, KeyError)
    assert error.bug.arguments == {"what": "1 1 0"}
    assert error.group.sample.id == "q0"
    tree = error.group.tree
    assert [leaf.path for leaf in tree.leaves] == [0, 2, 3]
    assert [call.arguments for call in own(tree, 1)[-1].calls] == [{"what": "1 1 0"}]
    assert TrajectoryTree.from_json(tree.to_json()) == tree
    assert generator.opened == set()


def test_a_bug_in_a_tool_keeps_its_traceback() -> None:
    generator = Script(lambda path: 1).generator()
    with pytest.raises(RolloutError) as caught:
        run(generator, fixed(4, 3), tools=[asking(breaking("1 0 0", generator, []))])
    assert caught.value.__cause__ is caught.value.bug
    assert caught.value.bug.__cause__ is caught.value.bug.original


class Flaky(ToyGenerator):
    """An engine one of whose calls is cancelled by itself, as a client's own timeout may do."""

    async def sample(self, sequence: engine.Sequence, max_tokens: int, stop: Stop) -> Sampled:
        if self.keys("sampled").count(key_of(2)) == 1:
            raise asyncio.CancelledError("by itself")
        return await super().sample(sequence, max_tokens, stop)


def test_a_path_that_is_cancelled_by_itself_stops_the_run_instead_of_leaving_a_smaller_group() -> None:
    script = Script(lambda path: 2)
    generator = Flaky(script.policy, script.entropy)
    with pytest.raises(RolloutError, match=r"sample 'q0': path . was cancelled inside the engine") as caught:
        run(generator, fixed(4, 3))
    assert isinstance(caught.value.original, PathLost)
    assert generator.opened == set()


@pytest.mark.parametrize("lost", ["leaf", "reward"])
def test_a_group_is_whole_or_the_run_stops(monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    real = Question.group

    def group(self: Question) -> Group:
        made = real(self)
        if lost == "leaf":
            made.tree.leaves.pop()
        else:
            made.tree.leaves[1].reward = None
        return made

    async def scorer(trajectory: Trajectory) -> float:
        return 1.0

    monkeypatch.setattr(Question, "group", group)
    line = "3 of 4 trajectories have ended" if lost == "leaf" else "the reward of a trajectory was lost"
    with pytest.raises(RolloutError, match=f"sample 'q0': {line}"):
        run(Script(lambda path: 1).generator(), fixed(4, 3), scorer=scorer)


def test_a_bug_in_one_question_names_it_and_stops_the_others() -> None:
    script = Script(lambda path: 50, questions=4)
    generator = script.generator()

    async def answer(what: str) -> str:
        if what == "2 3 1":
            raise KeyError("page")
        return what

    with pytest.raises(RolloutError, match="sample 'q1'"):
        run(generator, EAGER, questions(4), [asking(answer)])
    assert generator.opened == set()


def test_a_bug_in_a_tool_may_be_told_to_the_model_and_is_counted() -> None:
    generator = Script(lambda path: 2).generator()
    answer = breaking("1 1 0", generator, [])
    (group,) = run(generator, IndependentSamples(3), tools=[asking(answer)], on_tool_bug="tell")
    assert statuses(group) == {ToolStatus.OK: 5, ToolStatus.BUG: 1}
    assert executed_calls(group.tree) == 6
    assert origins(group.tree) == [Origin.GLOBAL] * 3


def statuses(group: Group) -> dict[ToolStatus, int]:
    seen = [status for _, status in results(group.tree)]
    return {status: seen.count(status) for status in seen}


class EngineFailure(Exception):
    pass


def test_a_failure_of_the_engine_comes_out_as_itself() -> None:
    def policy(at: Place) -> int:
        if at.turn == 2:
            raise EngineFailure("out of memory")
        return chatty(at)

    generator = ToyGenerator(policy)
    with pytest.raises(EngineFailure, match="out of memory"):
        run(generator, EAGER, questions(5))
    assert generator.opened == set()


def test_a_failure_of_the_rules_comes_out_as_itself() -> None:
    generator = Script(lambda path: 1, lambda path, turn: math.nan if turn else 1.0).generator()
    with pytest.raises(ValueError, match="logits are broken"):
        run(generator, EAGER)
    assert generator.opened == set()


def test_a_question_that_cannot_be_asked_comes_out_as_itself() -> None:
    class Picky(ToyProtocol):
        def prompt(self, question: str, instruction: str = "") -> list[int]:
            if question == "question 2":
                raise LookupError(question)
            return super().prompt(question, instruction)

    async def main() -> list[Group]:
        agent = Agent(generator, Picky(), {"ask": asking()}, GENEROUS)
        return await explore(questions(4), agent, EAGER, EAGER.initial_state(VOCABULARY), SEEDS)

    generator = ToyGenerator()
    with pytest.raises(LookupError, match="question 2"):
        alone(main)
    assert generator.opened == set()


def test_a_cancelled_rollout_closes_what_it_opened() -> None:
    generator = Script(lambda path: 3, questions=3).generator()
    scopes: list[anyio.CancelScope] = []

    async def answer(what: str) -> str:
        if what == "2 1 0":
            scopes[0].cancel()
        return what

    async def main() -> bool:
        agent = Agent(generator, ToyProtocol(), {"ask": asking(answer)}, GENEROUS, window=2)
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await explore(questions(3), agent, fixed(6, 3), EAGER.initial_state(VOCABULARY), SEEDS)
        return scope.cancelled_caught

    assert alone(main)
    assert generator.opened == set()
    assert not generator.entered


def test_a_question_asked_twice_in_a_step_is_answered_twice() -> None:
    first, again = run(ToyGenerator(), PRESETS[0], [*questions(1), *questions(1)])
    assert first.sample == again.sample
    assert first.tree != again.tree
