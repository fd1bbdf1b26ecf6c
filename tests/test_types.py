"""Trees of tokens: what a trajectory reads from one, how it is renumbered, how it is stored."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aepo.types import (
    BranchDecision,
    Group,
    Kind,
    Leaf,
    Node,
    Origin,
    Sample,
    StopReason,
    ToolCall,
    ToolResult,
    ToolStatus,
    Trajectory,
    TrajectoryTree,
    Turn,
    flatten,
)

SAMPLE = Sample("Wer ist älter?", ["Ada", "A. Lovelace"], "q7", {"hops": 2})
CALL = ToolCall("search", {"query": "Łódź 東京 🦉 \u2028 \x00", "top": 3, "deep": {"a": [1.5, None, True]}})
FAILED = ToolCall("", error="the tool call is not valid JSON")


def written(tree: TrajectoryTree, parent: int, tokens: list[int], path: int, *calls: ToolCall) -> Node:
    node = tree.add(parent, Kind.POLICY, tokens, path)
    node.logprobs = [-t / 10 for t in tokens]
    node.entropies = [t / 100 for t in tokens]
    node.calls = calls
    return node


def example() -> TrajectoryTree:
    """Two paths, grown at the same time: path 1 begins inside path 0, after its only observation."""
    tree = TrajectoryTree(gap=0.1 + 0.2, global_samples=1)
    tree.add(None, Kind.PROMPT, [1, 2, 3], 0)
    written(tree, 0, [4, 5], 0, CALL)
    seen = tree.add(1, Kind.OBSERVATION, [6, 7, 8], 0)
    seen.results = (ToolResult('nichts gefunden “…” \n\t\\ " 🦉', ToolStatus.ERROR, 0.123456789),)
    seen.decision = BranchDecision(1 / 3, -0.1 - 0.2, 2, 0.7000000000000001, 1, None)
    written(tree, 2, [9], 1)
    written(tree, 2, [10, 11], 0, FAILED)
    tree.leaves.append(Leaf(1, 3, Origin.BRANCH, StopReason.ANSWER, "Ada ✓", None, 0, 1, 5e-324, 1 / 3))
    tree.leaves.append(Leaf(0, 4, Origin.PROBE, StopReason.TOOL_LIMIT, root_entropy=0.1 + 0.2))
    return tree


def test_a_trajectory_trains_only_what_the_policy_wrote() -> None:
    tree = example()
    trajectory = flatten(SAMPLE, tree, tree.leaves[0])
    assert trajectory.tokens == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert trajectory.loss_mask == [0, 0, 0, 1, 1, 0, 0, 0, 1]
    assert trajectory.logprobs == [0.0, 0.0, 0.0, -0.4, -0.5, 0.0, 0.0, 0.0, -0.9]
    assert trajectory.entropies == [0.0, 0.0, 0.0, 0.04, 0.05, 0.0, 0.0, 0.0, 0.09]
    assert (trajectory.prompt_length, trajectory.nodes) == (3, [0, 1, 2, 3])
    assert (trajectory.answer, trajectory.stop_reason, trajectory.reward) == ("Ada ✓", StopReason.ANSWER, 1 / 3)
    assert trajectory.sample is SAMPLE
    assert trajectory.format_error is None


def test_a_turn_knows_its_call_and_what_came_back() -> None:
    tree = example()
    shared = Turn(1, 3, [4, 5], (CALL,), tree.nodes[2].results)
    assert flatten(SAMPLE, tree, tree.leaves[0]).turns == [shared, Turn(3, 8, [9])]
    unanswered = flatten(SAMPLE, tree, tree.leaves[1])
    assert unanswered.turns == [shared, Turn(4, 8, [10, 11], (FAILED,))]
    assert unanswered.calls == [(CALL, tree.nodes[2].results[0])]


def test_a_broken_turn_that_the_model_was_told_of_is_kept_and_not_trained() -> None:
    tree = TrajectoryTree()
    tree.add(None, Kind.PROMPT, [1, 2], 0)
    written(tree, 0, [3, 4], 0).error = "<search> is not closed"
    tree.add(1, Kind.OBSERVATION, [5], 0)
    written(tree, 2, [6], 0)
    tree.leaves.append(Leaf(0, 3, Origin.GLOBAL, StopReason.FORMAT, format_error="no such tag"))
    trajectory = flatten(SAMPLE, tree, tree.leaves[0])
    assert trajectory.tokens == [1, 2, 3, 4, 5, 6]
    assert trajectory.loss_mask == [0, 0, 0, 0, 0, 1]
    assert (trajectory.logprobs, trajectory.entropies) == ([0.0] * 5 + [-0.6], [0.0] * 5 + [0.06])
    assert trajectory.turns == [Turn(1, 2, [3, 4], error="<search> is not closed"), Turn(3, 5, [6])]
    assert (trajectory.format_errors, trajectory.format_error) == (2, "no such tag")
    assert TrajectoryTree.from_json(tree.to_json()) == tree


def test_recorded_values_of_given_tokens_are_not_read() -> None:
    tree = example()
    tree.nodes[2].logprobs = tree.nodes[2].entropies = [9.0, 9.0, 9.0]
    assert 9.0 not in flatten(SAMPLE, tree, tree.leaves[0]).logprobs + flatten(SAMPLE, tree, tree.leaves[0]).entropies


def test_a_shared_token_is_stored_once() -> None:
    tree = example()
    assert tree.distinct_tokens() == 11
    assert sum(len(t.tokens) for t in Group(SAMPLE, tree).trajectories()) == 19


def test_a_tree_keeps_its_own_copy_of_the_tokens() -> None:
    tokens = [1, 2]
    tree = TrajectoryTree()
    tree.add(None, Kind.PROMPT, tokens, 0)
    tokens.append(3)
    assert tree.nodes[0].tokens == [1, 2]


def test_only_a_call_with_good_arguments_was_executed() -> None:
    assert [status for status in ToolStatus if not ToolResult("", status).executed] == [ToolStatus.BAD_ARGUMENTS]


def test_equal_results_may_have_taken_different_times() -> None:
    assert ToolResult("a", seconds=1.0) == ToolResult("a", seconds=2.0) != ToolResult("b", seconds=1.0)


def test_rewards_are_in_the_order_of_the_leaves() -> None:
    tree = example()
    tree.leaves[1].reward = 0.0
    group = Group(SAMPLE, tree)
    assert group.rewards == [1 / 3, 0.0]
    assert [t.reward for t in group.trajectories()] == [1 / 3, 0.0]


def test_a_group_that_was_not_scored_says_how_many_leaves_lack_a_reward() -> None:
    with pytest.raises(ValueError, match="sample 'q7': 1 leaves have no reward"):
        _ = Group(SAMPLE, example()).rewards


def test_path_order_numbers_nodes_and_leaves_path_by_path() -> None:
    tree = example().in_path_order()
    assert [(n.id, n.parent, n.path, n.tokens[0]) for n in tree.nodes] == [
        (0, None, 0, 1),
        (1, 0, 0, 4),
        (2, 1, 0, 6),
        (3, 2, 0, 10),
        (4, 2, 1, 9),
    ]
    assert [(leaf.path, leaf.node) for leaf in tree.leaves] == [(0, 3), (1, 4)]
    assert (tree.gap, tree.global_samples) == (0.1 + 0.2, 1)


def test_path_order_leaves_the_tree_it_is_asked_of_alone() -> None:
    tree = example()
    tree.in_path_order()
    assert tree == example()


def test_a_split_changes_no_trajectory_and_the_later_part_keeps_the_number() -> None:
    tree, before = example(), [flatten(SAMPLE, example(), leaf) for leaf in example().leaves]
    early = tree.split(1, 1)
    assert (early.id, early.parent, early.path, early.tokens, early.calls) == (5, 0, 0, [4], ())
    assert (tree.nodes[1].parent, tree.nodes[1].tokens, tree.nodes[1].calls) == (5, [5], (CALL,))
    assert (early.logprobs, tree.nodes[1].logprobs) == ([-0.4], [-0.5])
    assert (early.entropies, tree.nodes[1].entropies) == ([0.04], [0.05])
    after = [flatten(SAMPLE, tree, leaf) for leaf in tree.leaves]
    assert [replace(t, nodes=[]) for t in after] == [replace(t, nodes=[]) for t in before]
    assert [t.nodes for t in after] == [[0, 5, 1, 2, 3], [0, 5, 1, 2, 4]]
    assert tree.turn(1) == [early, tree.nodes[1]] and tree.turn(5) == [early] and tree.turn(4) == [tree.nodes[4]]


def test_a_path_that_begins_where_a_turn_was_split_has_one_turn_of_both_writers() -> None:
    tree = example()
    tree.leaves.append(Leaf(2, written(tree, tree.split(1, 1).id, [7], 2).id, Origin.RESAMPLED, StopReason.END))
    (turn,) = flatten(SAMPLE, tree, tree.leaves[2]).turns
    assert turn == Turn(6, 3, [4, 7])
    assert flatten(SAMPLE, tree, tree.leaves[0]).turns == [
        Turn(1, 3, [4, 5], (CALL,), tree.nodes[2].results),
        Turn(3, 8, [9]),
    ]


def test_path_order_puts_the_parts_of_a_split_turn_one_after_the_other() -> None:
    tree = example()
    tree.split(1, 1)
    ordered = tree.in_path_order()
    assert [(n.parent, n.path, n.tokens[0]) for n in ordered.nodes] == [
        (None, 0, 1),
        (0, 0, 4),
        (1, 0, 5),
        (2, 0, 6),
        (3, 0, 10),
        (3, 1, 9),
    ]
    assert TrajectoryTree.from_json(ordered.to_json()) == ordered


@pytest.mark.parametrize(("node", "length"), [(0, 1), (2, 1), (1, 0), (1, 2), (3, 1)])
def test_only_a_part_of_the_policys_own_words_can_be_split_off(node: int, length: int) -> None:
    with pytest.raises(ValueError, match=f"cannot split .* node {node} of . tokens after {length} tokens"):
        example().split(node, length)


def test_json_keeps_everything() -> None:
    tree = example()
    again = TrajectoryTree.from_json(tree.to_json())
    assert again == tree
    assert [result.seconds for result in again.nodes[2].results] == [0.123456789]
    assert again.to_json() == tree.to_json()
    assert [type(n.kind) for n in again.nodes] == [Kind] * 5
    assert [(type(leaf.origin), type(leaf.stop_reason)) for leaf in again.leaves] == [(Origin, StopReason)] * 2


def test_json_is_plain_utf8_without_python_dialect() -> None:
    def refuse(name: str) -> Any:
        raise AssertionError(name)

    text = example().to_json()
    assert "🦉" in text
    assert json.loads(text.encode("utf-8"), parse_constant=refuse)["format"] == 2


@pytest.mark.parametrize("version", [0, 3, "1", None])
def test_another_format_is_refused(version: object) -> None:
    data = json.loads(example().to_json())
    data["format"] = version
    with pytest.raises(ValueError, match=f"tree of format {version!r}, this version reads 1 and 2"):
        TrajectoryTree.from_json(json.dumps(data))


def test_a_tree_of_the_first_format_is_read() -> None:
    """Its nodes had one `call` and one `result`, or null; its first results did not say whether they are repeated."""
    data = json.loads(example().to_json())
    for node in data["nodes"]:
        calls, results = node.pop("calls"), node.pop("results")
        node["call"], node["result"] = (calls or [None])[0], (results or [None])[0]
        if node["result"]:
            del node["result"]["repeated"]
    assert TrajectoryTree.from_dict({**data, "format": 1}) == example()


def test_a_turn_with_several_calls_has_all_their_results() -> None:
    tree = example()
    tree.nodes[1].calls, tree.nodes[2].results = (CALL, FAILED), (*tree.nodes[2].results, ToolResult("no"))
    trajectory = flatten(SAMPLE, tree, tree.leaves[1])
    assert trajectory.calls == [(CALL, tree.nodes[2].results[0]), (FAILED, ToolResult("no"))]
    assert TrajectoryTree.from_json(tree.to_json()) == tree


def test_a_tree_without_a_format_is_refused() -> None:
    data = json.loads(example().to_json())
    del data["format"]
    with pytest.raises(ValueError, match="of format None"):
        TrajectoryTree.from_dict(data)


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TOKENS = st.lists(st.integers(0, 200_000), max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
CALLS = st.builds(
    ToolCall, st.text(max_size=5), st.dictionaries(st.text(max_size=3), VALUES, max_size=2), st.none() | st.text()
)
RESULTS = st.builds(ToolResult, st.text(max_size=8), st.sampled_from(ToolStatus), FLOATS)
DECISIONS = st.builds(
    BranchDecision, FLOATS, FLOATS, st.integers(0, 9), FLOATS, st.integers(0, 3), st.none() | st.text()
)


@st.composite
def trees(draw: st.DrawFn) -> TrajectoryTree:
    """Any tree in which a path's nodes follow each other and a child comes after its parent."""
    tree = TrajectoryTree(gap=draw(st.none() | FLOATS), global_samples=draw(st.integers(0, 12)))
    tree.add(None, Kind.PROMPT, draw(TOKENS), 0)
    last = {0: 0}
    for _ in range(draw(st.integers(0, 8))):
        new = len(last)
        path = draw(st.integers(0, new))
        # A new path begins at a node of an earlier one: its number is the highest so far.
        parent = last[path] if path < new else draw(st.integers(0, len(tree.nodes) - 1))
        node = tree.add(parent, draw(st.sampled_from([Kind.POLICY, Kind.OBSERVATION])), draw(TOKENS), path)
        node.logprobs = draw(st.lists(FLOATS, max_size=3))
        node.entropies = draw(st.lists(FLOATS, max_size=3))
        node.calls = tuple(draw(st.lists(CALLS, max_size=3)))
        node.results = tuple(draw(st.lists(RESULTS, max_size=3)))
        node.decision = draw(st.none() | DECISIONS)
        last[path] = node.id
    for path in draw(st.permutations(sorted(last))):
        origin, reason = draw(st.sampled_from(Origin)), draw(st.sampled_from(StopReason))
        text = st.none() | st.text(max_size=5)
        leaf = Leaf(path, last[path], origin, reason, draw(text), draw(text), draw(st.none() | st.integers(0, 3)))
        tree.leaves.append(replace(leaf, depth=draw(st.integers(0, 3)), root_entropy=draw(FLOATS)))
        tree.leaves[-1].reward = draw(st.none() | FLOATS)
    return tree


@settings(deadline=None, derandomize=True, max_examples=60)
@given(trees())
def test_json_is_lossless_for_any_tree(tree: TrajectoryTree) -> None:
    again = TrajectoryTree.from_json(tree.to_json().encode("utf-8").decode("utf-8"))
    assert again == tree
    assert repr(again) == repr(tree)  # tells -0.0 from 0.0, 1 from True, and compares the seconds


@settings(deadline=None, derandomize=True, max_examples=60)
@given(trees())
def test_path_order_changes_numbers_only(tree: TrajectoryTree) -> None:
    ordered = tree.in_path_order()
    assert [n.id for n in ordered.nodes] == list(range(len(tree.nodes)))
    assert all(n.parent is None or n.parent < n.id for n in ordered.nodes)
    assert [n.path for n in ordered.nodes] == sorted(n.path for n in tree.nodes)
    assert ordered.in_path_order() == ordered
    before = {leaf.path: [replace(n, id=0, parent=None) for n in tree.walk(leaf.node)] for leaf in tree.leaves}
    after = {leaf.path: [replace(n, id=0, parent=None) for n in ordered.walk(leaf.node)] for leaf in ordered.leaves}
    assert before == after
    assert [leaf.path for leaf in ordered.leaves] == sorted(before)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(trees(), st.data())
def test_splits_change_no_walk_and_no_invariant(tree: TrajectoryTree, data: st.DataObject) -> None:
    def words(at: TrajectoryTree) -> dict[int, list[tuple[Kind, int]]]:
        return {leaf.path: [(n.kind, t) for n in at.walk(leaf.node) for t in n.tokens] for leaf in at.leaves}

    before, distinct = words(tree), tree.distinct_tokens()
    for _ in range(data.draw(st.integers(1, 3))):
        long = [node for node in tree.nodes if node.kind is Kind.POLICY and len(node.tokens) > 1]
        if not long:
            break
        node = data.draw(st.sampled_from(long))
        tree.split(node.id, data.draw(st.integers(1, len(node.tokens) - 1)))
    ordered = tree.in_path_order()
    assert words(ordered) == words(tree) == before
    assert ordered.distinct_tokens() == distinct
    assert all(node.parent is None or node.parent < node.id for node in ordered.nodes)
    assert ordered.in_path_order() == ordered
    assert TrajectoryTree.from_json(ordered.to_json()) == ordered


def test_a_trajectory_written_by_hand_reads_like_one_of_a_rollout() -> None:
    second = ToolCall("search", {"query": "Ada"})
    said = Trajectory.written(SAMPLE, "Ada", [(CALL, "nothing"), (second, "born in 1815")], outcome=0.5, state={"n": 2})
    assert [(call, result.text, result.status) for call, result in said.calls] == [
        (CALL, "nothing", ToolStatus.OK),
        (second, "born in 1815", ToolStatus.OK),
    ]
    assert (said.sample, said.answer, said.stop_reason, said.format_error) == (SAMPLE, "Ada", StopReason.ANSWER, None)
    assert (said.leaf.outcome, said.leaf.state, said.tokens) == (0.5, {"n": 2}, [])


def test_a_trajectory_written_by_hand_ends_as_it_says() -> None:
    assert Trajectory.written(SAMPLE).stop_reason is StopReason.END
    broken = Trajectory.written(SAMPLE, format_error="unclosed tag")
    assert (broken.stop_reason, broken.answer, broken.format_error) == (StopReason.FORMAT, None, "unclosed tag")
