"""What starts once all paths have ended: at observations in retrospect, before calls, the rest at the question."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from aepo.core.branching import RULES
from aepo.core.exploration import Ended, Exploration, IndependentSamples, Restart, Step
from aepo.core.noise import uniform
from aepo.core.resampling import CallResampling
from aepo.rollout.explorer import executed_calls
from aepo.rollout.growing import Scorer
from aepo.rollout.path import Limits
from aepo.types import Group, Kind, Node, Origin, StopReason, ToolCall, Trajectory, TrajectoryTree
from tests.rollout.toy import (
    ANSWER,
    CALL,
    CALLS,
    SEEDS,
    VOCABULARY,
    WORD,
    Place,
    Script,
    ToyGenerator,
    asking,
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
    last_sample,
    origins,
    own,
    starts,
)
from tests.rules import altered, branching

LATE = branching(
    6, dynamic_budget=False, branch_time="retrospective", depth_bonus=0.0, entropy_window=2, entropy_scale="nats"
)
RETRY = CallResampling(6, 2)


def constant(reward: float) -> Scorer:
    async def score(trajectory: Trajectory) -> float:
        return reward

    return score


def rewards(*by_path: float) -> Scorer:
    """The reward of each path; nothing for those after."""

    async def score(trajectory: Trajectory) -> float:
        return by_path[trajectory.leaf.path] if trajectory.leaf.path < len(by_path) else 0.0

    return score


def resampled(tree: TrajectoryTree) -> list[tuple[int | None, int]]:
    """Where calls were made anew: parent and number of the call, in the order of the paths."""
    return [(leaf.parent_path, leaf.depth + 1) for leaf in tree.leaves if leaf.origin is Origin.RESAMPLED]


# Branches in retrospect.


def test_branches_start_at_the_best_observations_once_all_paths_have_ended() -> None:
    heights = {(0, 2): 1.0, (1, 1): 0.5, (2, 3): 2.0}
    script = Script(lambda path: 3, lambda path, turn: heights.get((path, turn), 0.0))
    generator = script.generator()
    (group,) = run(generator, LATE)
    tree = group.tree
    assert origins(tree) == [Origin.GLOBAL] * 3 + [Origin.BRANCH] * 3
    assert branched(tree) == [(2, 3), (0, 2), (1, 1)]
    assert between(generator, [3, 4, 5]) == {"fork"}
    assert starts(generator, 3) > max(last_sample(generator, path) for path in range(3))
    for leaf in tree.leaves[3:]:
        first = own(tree, leaf.path)[0]
        assert first.parent is not None
        begun_at = tree.nodes[first.parent]
        assert (begun_at.kind, begun_at.path) == (Kind.OBSERVATION, leaf.parent_path)
        assert leaf.root_entropy == tree.leaves[leaf.parent_path or 0].root_entropy
    assert [len(t.calls) for t in group.trajectories()] == [3] * 6


def test_every_observation_says_what_was_decided_about_it() -> None:
    heights = {(0, 2): 3.0, (1, 1): 2.0, (2, 1): 1.0}
    script = Script(lambda path: 2, lambda path, turn: heights.get((path, turn), 0.5))
    (group,) = run(script.generator(), altered(LATE, beam_size=3))
    decisions = decided(group.tree)
    assert {at: (d.branches, d.stopped_by) for at, d in decisions.items()} == {
        (0, 1): (0, "budget"),
        (0, 2): (2, None),
        (1, 1): (1, None),
        (1, 2): (0, "budget"),
        (2, 1): (0, "budget"),
        (2, 2): (0, "budget"),
    }
    assert {d.consecutive for d in decisions.values()} == {0}
    assert (decisions[0, 2].entropy, decisions[0, 2].delta) == (3.0, 2.5)
    assert decisions[0, 2].probability == pytest.approx(0.5 + 0.2 * 2.5)


def test_slots_that_no_observation_can_take_start_from_the_question_with_the_branches() -> None:
    script = Script(lambda path: int(path == 1))
    generator = script.generator()
    (group,) = run(generator, LATE)
    assert origins(group.tree) == [Origin.GLOBAL] * 3 + [Origin.BRANCH] + [Origin.LEFTOVER] * 2
    assert between(generator, [3, 4, 5]) == {"fork"}


def test_the_probes_still_decide_how_many_start_from_the_question() -> None:
    script = Script(lambda path: 2, lambda path, turn: 1.0 + turn)
    (group,) = run(script.generator(), altered(LATE, dynamic_budget=True, probes=1, min_global=0.0, beta=5.0))
    assert (group.tree.gap, group.tree.global_samples) == (-1.5, 1)
    assert origins(group.tree) == [Origin.PROBE] + [Origin.BRANCH] * 2 + [Origin.LEFTOVER] * 3
    assert branched(group.tree) == [(0, 2), (0, 1)]


def test_before_there_is_a_mean_depth_is_measured_by_what_has_ended() -> None:
    # T = 2: 0.5 + 0.2 + 0.3 / 2 < 0.5 + 0.1 + 0.3 * 2 / 2; by T = 1 as well, but not by T = 4.
    script = Script(lambda path: 2, lambda path, turn: {1: 2.0, 2: 1.5}.get(turn, 1.0))
    rules = altered(LATE, group_size=2, depth_bonus=0.3)
    (group,) = run(script.generator(), rules)
    assert branched(group.tree) == [(0, 2)]
    later = rules.initial_state(VOCABULARY).updated([], [], [4.0])
    (group,) = run(script.generator(), rules, state=later)
    assert branched(group.tree) == [(0, 1)]


def test_nobody_asks_what_fills_the_last_slots() -> None:
    script = Script(lambda path: 3, lambda path, turn: float(turn))
    generator = script.generator()
    (group,) = run(generator, LATE)
    assert {path for path, _ in decided(group.tree)} == {0, 1, 2}
    # A turn that nobody asks about is sampled in one call.
    assert branched(group.tree) == [(0, 3), (1, 3), (2, 3)]
    assert [generator.keys("sampled").count(key_of(path)) for path in (0, 3)] == [8, 1]


# Calls that are made anew.


def test_the_most_uncertain_calls_of_failed_trajectories_are_made_anew() -> None:
    heights = {(0, 1): 5.0, (3, 0): 4.0, (1, 0): 3.0}
    script = Script(lambda path: 2 if path in (0, 1, 3) else 0, lambda path, turn: heights.get((path, turn), 1.0))
    generator = script.generator()
    (group,) = run(generator, RETRY, scorer=rewards(0.0, 0.5, 1.0, -1.0))
    tree = group.tree
    assert origins(tree) == [Origin.GLOBAL] * 4 + [Origin.RESAMPLED] * 2
    assert resampled(tree) == [(0, 2), (3, 1)]
    assert between(generator, [4, 5]) == {"fork"}
    assert starts(generator, 4) > max(last_sample(generator, path) for path in range(4))
    assert tree.global_samples == 4 and decided(tree) == {}


def test_a_call_that_is_made_anew_keeps_what_came_before_it() -> None:
    script = Script(lambda path: 2, lambda path, turn: {(0, 0): 0.25, (0, 1): 2.0}.get((path, turn), 1.0))
    generator = script.generator()
    (group,) = run(generator, replace(RETRY, group_size=3, resamples=1), scorer=constant(0.0))
    tree = group.tree
    parent, _, anew = group.trajectories()
    kept = anew.prompt_length + 4 + 4 + 2  # a turn of four, a result of a mark and three letters, two thoughts
    assert parent.tokens[:kept] == anew.tokens[:kept]
    # Path 2 writes the question's number and the end of the turn; the thoughts name path 0 and its second turn.
    assert anew.tokens[kept : kept + 2] == [WORD, CALL]
    assert anew.turns[1].calls == (ToolCall("ask", {"what": "0 1 0"}),)
    assert [len(turn.calls) for turn in anew.turns] == [1, 1, 0]
    assert [len(turn.tokens) for turn in anew.turns] == [4, 4, 4]
    assert anew.loss_mask[kept - 2 : kept + 2] == [1] * 4
    leaf = tree.leaves[2]
    assert (leaf.origin, leaf.parent_path, leaf.depth, leaf.root_entropy) == (Origin.RESAMPLED, 0, 1, 0.25)
    fork = generator.events[starts(generator, 2)]
    assert (fork.what, fork.length) == ("fork", kept)
    # The first call is shared and ran once; the second one ran on each of the two paths.
    assert executed_calls(tree) == 2 + 2 + 1 and [len(t.calls) for t in (parent, anew)] == [2, 2]
    assert TrajectoryTree.from_json(tree.to_json()) == tree


def test_inside_its_call_a_trajectory_keeps_the_opening_too() -> None:
    script = Script(lambda path: 1)
    rules = CallResampling(4, 2, candidates="first", rank="probability", continuations=2, inside_call=True)
    (group,) = run(script.generator(), rules, scorer=constant(0.0))
    tree = group.tree
    assert resampled(tree) == [(0, 1)] * 2
    early, late = own(tree, 0)[:2]
    assert (early.tokens, late.tokens) == ([WORD, WORD, WORD], [CALL]), "two thoughts, and the word that opens the call"
    assert [own(tree, path)[0].parent for path in (2, 3)] == [early.id] * 2
    assert all(len(trajectory.calls) == 1 for trajectory in group.trajectories())


def test_a_turn_is_split_once_however_often_its_call_is_made_anew() -> None:
    script = Script(lambda path: 1)
    (group,) = run(script.generator(), CallResampling(4, 3), scorer=constant(0.0))
    tree = group.tree
    assert resampled(tree) == [(0, 1)] * 3
    early, late = own(tree, 0)[:2]
    assert (early.tokens, early.calls, late.tokens) == ([WORD, WORD], (), [WORD, CALL])
    assert late.calls == (ToolCall("ask", {"what": "0 0 0"}),) and late.parent == early.id
    assert [own(tree, path)[0].parent for path in (1, 2, 3)] == [early.id] * 3
    assert len({tuple(t.tokens) for t in group.trajectories()}) > 1


def test_a_call_without_a_thought_before_it_starts_where_its_turn_does() -> None:
    def bare(at: Place) -> int:
        return CALL if at.turn < 2 else ANSWER

    generator = ToyGenerator(bare, lambda at: 1.0 + at.turn)
    (group,) = run(generator, CallResampling(3, 2), scorer=constant(0.0))
    tree = group.tree
    assert resampled(tree) == [(0, 2), (0, 1)]
    assert [n.tokens for n in own(tree, 0) if n.kind is Kind.POLICY] == [[CALL], [CALL], [ANSWER]], "no turn was split"
    begun = [tree.nodes[own(tree, path)[0].parent or 0] for path in (1, 2)]
    assert [node.kind for node in begun] == [Kind.OBSERVATION, Kind.PROMPT]
    assert [len(t.calls) for t in group.trajectories()] == [2, 2, 2]


@pytest.mark.parametrize("scores", [(0.0, 1.0, 0.0, 0.0), (1.1, 0.0, 0.0, 0.0)])
def test_where_a_tool_helped_the_others_start_from_the_question(scores: tuple[float, ...]) -> None:
    generator = Script(lambda path: 1).generator()
    (group,) = run(generator, RETRY, scorer=rewards(*scores))
    assert origins(group.tree) == [Origin.GLOBAL] * 4 + [Origin.LEFTOVER] * 2
    assert between(generator, [4, 5]) == {"fork"}
    assert len(group.tree.nodes) == 1 + 3 * 6, "no turn was split"


def test_where_no_tool_was_called_the_others_start_from_the_question() -> None:
    (group,) = run(Script(lambda path: 0).generator(), RETRY, scorer=constant(0.0))
    assert origins(group.tree) == [Origin.GLOBAL] * 4 + [Origin.LEFTOVER] * 2


def test_inherited_calls_count_towards_the_limit_and_a_refused_call_was_not_made() -> None:
    script = Script(lambda path: 9, lambda path, turn: float(turn))
    (group,) = run(script.generator(), CallResampling(3, 1), limits=Limits(10_000, 2), scorer=constant(0.0))
    # Turn 2 is the most uncertain, but its call was refused.
    assert resampled(group.tree) == [(0, 2)]
    assert [leaf.stop_reason for leaf in group.tree.leaves] == [StopReason.TOOL_LIMIT] * 3
    assert [len(t.calls) for t in group.trajectories()] == [2, 2, 2]


def test_a_result_that_found_no_room_can_be_asked_for_anew() -> None:
    script = Script(lambda path: 1)
    (group,) = run(script.generator(), CallResampling(2, 1), limits=Limits(8, 3), scorer=constant(0.0))
    assert resampled(group.tree) == [(0, 1)]
    assert [leaf.stop_reason for leaf in group.tree.leaves] == [StopReason.LENGTH] * 2


# Rewards in the middle of a rollout.


def test_each_trajectory_is_scored_once_while_others_grow_and_restarts_wait_for_all() -> None:
    generator = Script(lambda path: 4 * (path % 2)).generator()
    asked: dict[int, tuple[int, int]] = {}
    given: list[int] = []

    async def score(trajectory: Trajectory) -> float:
        path = trajectory.leaf.path
        assert path not in asked
        asked[path] = len(trajectory.turns), len(generator.keys("sampled"))
        for _ in range(40 if path == 1 else 1):
            await checkpoint()
        given.append(path)
        if path < 4:
            assert not any(key_of(late) in generator.keys("fork") for late in (4, 5)), "somebody began before the end"
        return path / 10

    (group,) = run(generator, RETRY, scorer=score)
    assert {path: turns for path, (turns, _) in asked.items() if path < 4} == {0: 1, 1: 5, 2: 1, 3: 5}
    assert asked[0][1] < asked[1][1], "it was scored before the slower ones had ended"
    assert given.index(1) > given.index(3) and set(given) == set(range(6))
    assert [leaf.reward for leaf in group.tree.leaves] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]


def test_whatever_the_rules_every_trajectory_is_scored() -> None:
    for rules in (LATE, IndependentSamples(3), branching(4, tau=0.6)):
        (group,) = run(Script(lambda path: 1).generator(), rules, scorer=constant(0.5))
        assert {leaf.reward for leaf in group.tree.leaves} == {0.5}
        (group,) = run(Script(lambda path: 1).generator(), rules)
        assert {leaf.reward for leaf in group.tree.leaves} == {None}


def test_rules_that_read_rewards_refuse_to_do_without() -> None:
    with pytest.raises(ValueError, match="the rules of this rollout need rewards: give explore a scorer"):
        run(ToyGenerator(), RETRY)


def test_a_failure_of_the_reward_comes_out_as_itself() -> None:
    async def score(trajectory: Trajectory) -> float:
        raise LookupError(f"path {trajectory.leaf.path}")

    generator = Script(lambda path: 1, questions=3).generator()
    with pytest.raises(LookupError, match="path 0"):
        run(generator, RETRY, questions(3), scorer=score)
    assert generator.opened == set()


# What holds for every group.


def chatty(at: Place) -> int:
    """Calls tools until the limit, mostly."""
    return (CALLS if at.draw > 0.9 else CALL) if at.draw > 0.7 else wild(at)


async def by_answer(trajectory: Trajectory) -> float:
    """Some succeed."""
    return float(trajectory.answer is not None and trajectory.answer.endswith("7"))


def ended(tree: TrajectoryTree, rules: Exploration, count: int) -> list[Ended]:
    """What the rules must have been told of the first `count` paths."""
    paths = []
    for leaf in tree.leaves[:count]:
        seen = [n for n in tree.nodes if n.path == leaf.path and n.kind is Kind.OBSERVATION]
        steps = [
            Step(
                i,
                uniform(key_of(leaf.path), -i),
                node.decision and replace(node.decision, branches=0, stopped_by="budget"),
                call_entropy(tree, node) if rules.needs_call_entropy else None,
            )
            for i, node in enumerate(seen, 1)
        ]
        paths.append(Ended(leaf.path, steps, leaf.reward))
    return paths


def call_entropy(tree: TrajectoryTree, observation: Node) -> float:
    """Mean entropy of the calls: the last two tokens of a turn, the last three of one with several, or its only one."""
    entropies: list[float] = []
    size = 3 if tree.nodes[observation.parent or 0].tokens[-1] == CALLS else 2
    for node in reversed(tree.walk(observation.id)[:-1]):
        if node.kind is not Kind.POLICY:
            break
        entropies = node.entropies + entropies
    last = entropies[-size:]
    return sum(last) / len(last)


def check_restarts(tree: TrajectoryTree, rules: Exploration, mean: float | None) -> None:
    """Exactly k leaves; after the first m come those that the rules ask for, in their order, then left-overs."""
    m = tree.global_samples
    assert [leaf.path for leaf in tree.leaves] == list(range(rules.group_size))
    told = ended(tree, rules, m)
    mean = sum(len([s for s in p.steps if s.decision]) for p in told) / m if mean is None else mean
    slots = rules.group_size - m
    expected = rules.restarts(told, slots, max(1.0, mean)) if slots else []
    kinds = [Origin.RESAMPLED if restart.before_call else Origin.BRANCH for restart in expected]
    assert origins(tree)[rules.probes :] == (
        [Origin.GLOBAL] * (m - rules.probes) + kinds + [Origin.LEFTOVER] * (slots - len(kinds))
    )
    for leaf, restart in zip(tree.leaves[m:], expected, strict=False):
        assert Restart(leaf.parent_path or 0, leaf.depth + restart.before_call, restart.before_call) == restart
        assert leaf.root_entropy == tree.leaves[restart.path].root_entropy
        shared = tree.walk(own(tree, leaf.path)[0].id)[:-1]
        parents = tree.walk(tree.leaves[restart.path].node)
        assert shared == parents[: len(shared)]
        assert sum(n.kind is Kind.OBSERVATION for n in shared) == leaf.depth
        if not restart.before_call:
            assert shared[-1].kind is Kind.OBSERVATION
    for (path, i), decision in decided(tree).items():
        branches = expected.count(Restart(path, i))
        assert (decision.branches, decision.stopped_by) == (branches, None if branches else "budget")


@st.composite
def late_rules(draw: st.DrawFn) -> Exploration:
    size = draw(st.integers(2, 10))
    if draw(st.booleans()):
        return CallResampling(size, draw(st.integers(1, size - 1)))
    return branching(
        size,
        beam_size=draw(st.integers(2, 4)),
        dynamic_budget=draw(st.booleans()),
        min_global=draw(st.sampled_from([0.0, 0.25])),
        initial_fraction=draw(st.sampled_from([0.01, 0.5, 1.0])),
        branch_rule=draw(st.sampled_from(RULES)),
        entropy_window=draw(st.sampled_from([1, 20])),
        branch_time="retrospective",
        depth_bonus=draw(st.sampled_from([0.0, 0.3, 2.0])),
    )


@settings(max_examples=80)
@given(
    rules=late_rules(),
    limits=st.builds(Limits, st.sampled_from([1, 8, 20, 60, 400]), st.integers(0, 5)),
    scorer=st.sampled_from([constant(0.0), by_answer]),
    later=st.booleans(),
)
def test_every_group_is_whole_and_by_the_rules(rules: Exploration, limits: Limits, scorer: Scorer, later: bool) -> None:
    state = rules.initial_state(VOCABULARY)
    if later:
        state = state.updated([0.5, -0.25], [0.5, 1.0, -0.75], [1, 2, 3])
    generator = ToyGenerator(chatty)
    (group,) = run(generator, rules, limits=limits, state=state, scorer=scorer)
    check_restarts(group.tree, rules, state.mean_observations)
    check_limits(group, limits)
    check_tokens(group.tree, generator, SEEDS, "q0")
    assert TrajectoryTree.from_json(group.tree.to_json()) == group.tree
    assert all(node.parent is None or node.parent < node.id for node in group.tree.nodes)
    assert sorted(generator.keys("close")) == sorted(generator.keys("open", "fork")) == sorted(generator.keys("end"))


@pytest.mark.parametrize(
    "rules",
    [altered(LATE, group_size=8, entropy_scale="running"), branching(8, branch_time="retrospective"), RETRY],
)
def test_the_order_in_which_tools_and_rewards_answer_changes_nothing(rules: Exploration) -> None:
    def explored(answer: Callable[[str], Awaitable[str]], pause: Callable[[], int], scorer: Scorer) -> list[Group]:
        generator = ToyGenerator(chatty, delay=pause)
        groups = run(generator, rules, questions(3), [asking(answer)], Limits(200, 4), scorer=scorer)
        ran.add(tuple(generator.events))
        return groups

    ran: set[tuple[object, ...]] = set()
    first = explored(echo, lambda: 0, constant(0.0))
    for shuffle in range(15):
        chance = random.Random(shuffle)

        async def answer(what: str, chance: random.Random = chance) -> str:
            for _ in range(chance.choice([0, 1, 5, 40])):
                await checkpoint()
            return await echo(what)

        async def score(trajectory: Trajectory, chance: random.Random = chance) -> float:
            for _ in range(chance.choice([0, 3, 30])):
                await checkpoint()
            return 0.0

        assert explored(answer, lambda chance=chance: chance.choice([0, 1, 4]), score) == first
    assert len(ran) > 10  # the runs did differ
    assert any(leaf.origin in (Origin.BRANCH, Origin.RESAMPLED) for group in first for leaf in group.tree.leaves)


@pytest.mark.parametrize("room", [1, 2, 7])
@pytest.mark.parametrize("rules", [LATE, RETRY])
def test_what_starts_late_is_the_same_with_little_room(rules: Exploration, room: int) -> None:
    def explored(engine: ToyGenerator) -> list[TrajectoryTree]:
        groups = run(engine, rules, questions(4), limits=Limits(200, 4), scorer=constant(0.0))
        return [group.tree for group in groups]

    small = ToyGenerator(max_sequences=room)
    roomy = explored(ToyGenerator())
    assert explored(small) == roomy
    assert small.peak == room
    assert any(origin in (Origin.BRANCH, Origin.RESAMPLED) for tree in roomy for origin in origins(tree))
