"""Diversity is that of tool calls: their order and arguments count, what else was written does not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aepo.training.diversity import clusters, diversity_metrics
from aepo.types import Group, Kind, Leaf, Origin, Sample, StopReason, ToolCall, TrajectoryTree


def group(*trajectories: list[ToolCall]) -> Group:
    tree = TrajectoryTree()
    prompt = tree.add(None, Kind.PROMPT, [1], 0).id
    for path, calls in enumerate(trajectories):
        at = prompt
        for call in calls:
            asked = tree.add(at, Kind.POLICY, [path], path)
            asked.calls = (call,)
            at = tree.add(asked.id, Kind.OBSERVATION, [2], path).id
        tree.leaves.append(Leaf(path, at, Origin.GLOBAL, StopReason.ANSWER, answer=str(path)))
    return Group(Sample("?"), tree)


def search(query: str, **more: object) -> ToolCall:
    return ToolCall("search", {"query": query, **more})


def sets(*texts: str) -> list[frozenset[str]]:
    return [frozenset(text) for text in texts]


def test_order_and_arguments_make_a_sequence_the_order_of_keys_does_not() -> None:
    a, b = search("a"), search("b")
    found = diversity_metrics([group([a, b], [b, a], [a, b], [])])
    assert found["group/distinct_queries"] == 3 / 4
    same = diversity_metrics([group([search("a", top=1)], [ToolCall("search", {"top": 1, "query": "a"})])])
    assert same == {"group/distinct_queries": 0.5, "group/clusters": 1.0}


def test_calls_of_one_turn_are_calls_of_the_trajectory() -> None:
    together, apart = group([search("a")]), group([search("a"), search("b")])
    together.tree.nodes[1].calls = (search("a"), search("b"))
    both = Group(Sample("?"), apart.tree)
    asked = both.tree.add(0, Kind.POLICY, [9], 1)
    asked.calls = together.tree.nodes[1].calls
    both.tree.leaves.append(Leaf(1, asked.id, Origin.GLOBAL, StopReason.ANSWER))
    assert diversity_metrics([both]) == {"group/distinct_queries": 0.5, "group/clusters": 1.0}


def test_groups_count_alike_and_those_without_trajectories_do_not() -> None:
    both = [group([search("a")], [search("b")]), group([], [], [], []), Group(Sample("?"), TrajectoryTree())]
    assert diversity_metrics(both) == {"group/distinct_queries": (1 + 1 / 4) / 2, "group/clusters": 1.5}
    assert diversity_metrics(both[2:]) == {}


def test_clusters_worked_by_hand() -> None:
    assert clusters([]) == 0
    assert clusters(sets("ab", "ab", "cd")) == 2
    assert clusters(sets("ab", "a")) == 1, "a distance of 0.5 is a link"
    assert clusters(sets("abc", "ad")) == 2, "1 of 4 in common is none"
    assert clusters(sets("a", "ab", "b")) == 1, "a and b differ, ab links them"
    assert clusters(sets("", "", "a")) == 2, "who calls nothing is alike"


@given(st.lists(st.frozensets(st.sampled_from("abcde")), max_size=8), st.randoms())
def test_clusters_do_not_depend_on_the_order_and_repetition_adds_none(found: list[frozenset[str]], rng) -> None:
    count = clusters(found)
    assert count <= len(set(found)) and (count >= 1) == bool(found)
    shuffled = found + found[:2]
    rng.shuffle(shuffled)
    assert clusters(shuffled) == count
