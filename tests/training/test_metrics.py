import json
import math

import pytest

from aepo.training.metrics import exploration_update, rollout_metrics
from aepo.types import (
    BranchDecision,
    Group,
    Kind,
    Leaf,
    Origin,
    Sample,
    StopReason,
    ToolCall,
    ToolResult,
    ToolStatus,
    TrajectoryTree,
)
from tests.kept import comparable
from tests.rules import branching


def say(tree, parent, path, entropies, call=None):
    node = tree.add(parent, Kind.POLICY, range(len(entropies)), path)
    node.entropies, node.logprobs = list(entropies), [-e for e in entropies]
    node.calls = (ToolCall(call),) if call is not None else ()
    return node.id


def see(tree, parent, path, decision=None, status=ToolStatus.OK, seconds=0.5, size=3):
    node = tree.add(parent, Kind.OBSERVATION, range(size), path)
    node.results, node.decision = (ToolResult("r", status, seconds),), decision
    return node.id


def end(tree, node, path, origin, reward, **rest):
    leaf = Leaf(path, node, origin, rest.pop("stop", StopReason.ANSWER), reward=reward, **rest)
    tree.leaves.append(leaf)


def branching_group():
    """A probe with two observations, a global sample, a branch at each of the probe's observations, a left-over."""
    tree = TrajectoryTree(gap=-0.5, global_samples=2)
    prompt = tree.add(None, Kind.PROMPT, range(4), 0).id
    a = say(tree, prompt, 0, [1.0, 0.0], "search")
    first = see(tree, a, 0, BranchDecision(1.5, 1.0, 0, 0.7, 1, None))
    b = say(tree, first, 0, [2.0, 1.0], "python")
    second = see(tree, b, 0, BranchDecision(0.75, 0.25, 1, 0.5, 1, None), ToolStatus.ERROR, 1.5)
    end(tree, say(tree, second, 0, [0.75]), 0, Origin.PROBE, 1.0, root_entropy=0.5)
    c = say(tree, prompt, 1, [0.25, 0.25], "search")
    third = see(tree, c, 1, BranchDecision(0.0, -0.25, 0, 0.45, 0, "threshold"), seconds=1.0)
    end(tree, say(tree, third, 1, [0.0]), 1, Origin.GLOBAL, 0.0, root_entropy=0.25, stop=StopReason.LENGTH)
    inherited = {"origin": Origin.BRANCH, "parent_path": 0, "root_entropy": 0.5}
    end(tree, say(tree, first, 2, [0.5]), 2, reward=0.5, depth=1, **inherited)
    end(tree, say(tree, second, 3, [0.5]), 3, reward=1.0, depth=2, **inherited)
    end(tree, say(tree, prompt, 4, [0.5]), 4, Origin.LEFTOVER, -1.0, format_error="bad", stop=StopReason.FORMAT)
    return Group(Sample("q", id="q"), tree)


def silent_group(reward=1.0):
    """Two trajectories that call nothing, with equal rewards."""
    tree = TrajectoryTree(gap=0.0, global_samples=2)
    prompt = tree.add(None, Kind.PROMPT, range(4), 0).id
    for path, origin in ((0, Origin.PROBE), (1, Origin.GLOBAL)):
        end(tree, say(tree, prompt, path, [0.5]), path, origin, reward, root_entropy=0.5)
    return Group(Sample("s", id="s"), tree)


def test_every_metric_of_a_tree_worked_by_hand():
    found = rollout_metrics([branching_group(), silent_group()], tools=["search", "python"])
    expected = {
        "reward/mean": 3.5 / 7,
        "reward/std": math.sqrt((4 * 0.25 + 0.25 + 0 + 2.25) / 7),
        "reward/best": 1.0,
        "success/mean": 4 / 7,
        "group/spread_share": 0.5,
        # Calls of the first group: search python, search, search, search python, none; of the second: none, none.
        "group/distinct_queries": (3 / 5 + 1 / 2) / 2,
        "group/clusters": (2 + 1) / 2,
        "format/broken_share": 1 / 7,
        "stop/answer": 5 / 7,
        "stop/end": 0.0,
        "stop/format": 1 / 7,
        "stop/length": 1 / 7,
        "stop/time": 0.0,
        "stop/tool_limit": 0.0,
        "stop/done": 0.0,
        "stop/lost": 0.0,
        "entropy/root": (0.5 + 0.25 + 0.5 + 0.5 + 0.5) / 5,
        "entropy/after_tool": (1.5 + 0.75 + 0.0 + 0.5 + 0.5) / 5,
        # Without the two tokens of the branches.
        "entropy/policy": (1 + 0 + 2 + 1 + 0.75 + 0.25 + 0.25 + 0 + 0.5 + 0.5 + 0.5) / 11,
        "entropy/gap": -0.25,
        # After observations: 1.5 and 0.75 on the probe, 0, 0.5, 0.5 elsewhere; the first two are above the median.
        # The probe has a run of both, the branch at its second observation shares the first.
        "entropy/high_runs_histogram": {"1": 1, "2": 1},
        "budget/m_mean": 2.0,
        "budget/m_histogram": {"2": 2},
        "branch/share": 2 / 7,
        "branch/leftover_share": 1 / 7,
        "branch/per_group": 1.0,
        "branch/depth_mean": 1.5,
        "branch/depth_histogram": {"1": 1, "2": 1},
        "branch/top3_share": 1.0,
        "branch/decisions": 3.0,
        "branch/stopped_by/threshold": 1 / 3,
        "branch/stopped_by/penalty": 0.0,
        "branch/stopped_by/pacing": 0.0,
        "branch/stopped_by/budget": 0.0,
        "branch/success_low_entropy": 1.0,
        "branch/success_high_entropy": 0.5,
        "tool/executed_calls": 3.0,
        "tool/calls_per_trajectory": (2 + 1 + 1 + 2) / 7,
        "tool/share": 4 / 7,
        "tool/saved_share": 0.5,
        "tool/search/calls": 2.0,
        "tool/search/error_rate": 0.0,
        "tool/search/seconds": 0.75,
        "tool/python/calls": 1.0,
        "tool/python/error_rate": 1.0,
        "tool/python/seconds": 1.5,
        "tokens/sampled": 13.0,
        "tokens/observed": 9.0,
        "tokens/distinct": 30.0,
        "tokens/trajectory": (15 + 10 + 10 + 15 + 5 + 5 + 5) / 7,
        "turns/mean": (3 + 2 + 2 + 3 + 1 + 1 + 1) / 7,
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name


def test_metrics_without_data_are_left_out_and_nothing_is_nan():
    assert rollout_metrics([]) == {}
    assert rollout_metrics([Group(Sample("q"), TrajectoryTree())]) == {}
    unscored = silent_group(None)
    unscored.tree.gap = None
    found = rollout_metrics([unscored])
    json.dumps(found, allow_nan=False)
    for absent in ("reward/mean", "success/mean", "entropy/after_tool", "entropy/gap", "branch/depth_mean"):
        assert absent not in found
    for absent in (
        "branch/top3_share",
        "branch/stopped_by/threshold",
        "tool/saved_share",
        "entropy/high_runs_histogram",
    ):
        assert absent not in found
    assert found["branch/share"] == found["tool/executed_calls"] == 0.0


def resampled_group():
    """Two failures with a call each; the call of the first one is made anew, after two of its three tokens."""
    tree = TrajectoryTree(global_samples=2)
    prompt = tree.add(None, Kind.PROMPT, range(4), 0).id
    for path, entropies in enumerate(([1.0, 3.0, 5.0], [0.5])):
        call = say(tree, prompt, path, entropies, "search")
        end(tree, say(tree, see(tree, call, path), path, [0.25]), path, Origin.GLOBAL, 0.0)
    anew = say(tree, tree.split(1, 2).id, 2, [9.0, 7.0], "search")
    inherited = {"parent_path": 0, "depth": 0}
    end(tree, say(tree, see(tree, anew, 2), 2, [0.25]), 2, Origin.RESAMPLED, 1.0, **inherited)
    return Group(Sample("q"), tree.in_path_order())


def test_each_call_of_a_turn_is_counted_under_its_own_name():
    tree = TrajectoryTree(global_samples=1)
    prompt = tree.add(None, Kind.PROMPT, range(4), 0).id
    asked = say(tree, prompt, 0, [1.0])
    tree.nodes[asked].calls = (
        ToolCall("search"),
        ToolCall("python"),
        ToolCall("search"),
        ToolCall("", error="no JSON"),
    )
    seen = see(tree, asked, 0)
    tree.nodes[seen].results = (
        ToolResult("a", seconds=0.5),
        ToolResult("b", ToolStatus.ERROR, 1.5),
        ToolResult("a", repeated=True),
        ToolResult("no JSON", ToolStatus.BAD_ARGUMENTS),
    )
    end(tree, say(tree, seen, 0, [0.5]), 0, Origin.GLOBAL, 1.0)
    metrics = rollout_metrics([Group(Sample("q", id="q"), tree)])
    assert (metrics["tool/executed_calls"], metrics["tool/calls_per_trajectory"]) == (2.0, 2.0)
    assert (metrics["tool/search/calls"], metrics["tool/search/seconds"], metrics["tool/repeated_calls"]) == (2, 0.5, 1)
    assert (metrics["tool/python/error_rate"], metrics["tool/unknown/calls"]) == (1.0, 1.0)
    assert metrics["turns/mean"] == 2.0


def test_a_call_that_was_made_anew_is_measured_as_what_it_is():
    found = rollout_metrics([resampled_group(), silent_group()], window=3, tools=["search"])
    assert found["resample/share"] == 1 / 5
    assert (found["resample/group_share"], found["resample/success"]) == (0.5, 1.0)
    assert (found["resample/recovered_share"], found["resample/clusters"], found["tool/share"]) == (1.0, 1.0, 3 / 5)
    assert found["branch/share"] == found["branch/decisions"] == 0.0
    # A turn was split: it is one turn still, and only its own writer's first tokens come after the question.
    assert found["turns/mean"] == (2 + 2 + 2 + 1 + 1) / 5
    assert found["entropy/root"] == pytest.approx((3.0 + 0.5 + 0.5 + 0.5) / 4)
    assert found["entropy/after_tool"] == 0.25
    assert found["tokens/sampled"] == 3 + 1 + 1 + 1 + 2 + 1 + 2
    assert found["tokens/trajectory"] == pytest.approx((4 + 3 + 3 + 1 + 4 + 1 + 3 + 1 + 4 + 2 + 2 + 3 + 1 + 5 + 5) / 5)
    assert (found["tool/executed_calls"], found["tool/calls_per_trajectory"]) == (3.0, 3 / 5)
    assert found["tool/saved_share"] == 0.0, "every path made its own call"
    assert found["tool/search/calls"] == 3.0
    state = branching(4).initial_state(100)
    new = exploration_update([resampled_group()], state)
    assert (new.delta, new.mean_observations) == (state.delta, 1.0)


def test_segment_entropies_read_the_first_tokens_only():
    tree = TrajectoryTree(global_samples=1)
    prompt = tree.add(None, Kind.PROMPT, [1], 0).id
    seen = see(tree, say(tree, prompt, 0, [1.0, 3.0, 100.0], "search"), 0)
    end(tree, say(tree, seen, 0, [4.0, 2.0, 100.0]), 0, Origin.GLOBAL, 1.0)
    found = rollout_metrics([Group(Sample("q"), tree)], window=2)
    assert (found["entropy/root"], found["entropy/after_tool"]) == (2.0, 3.0)


def test_runs_of_high_entropy_turns_are_counted_in_each_trajectory():
    tree = TrajectoryTree(global_samples=1)
    at = tree.add(None, Kind.PROMPT, [1], 0).id
    branched = []
    # Only the first token of a turn counts; the median of 9 1 9 9 1 9 1 is 9, of 9 1 9 9 1 8 1 it is 8.
    for path, entropies in enumerate([[0.0, 9.0, 1.0, 9.0, 9.0, 1.0], [8.0, 1.0]]):
        at = at if path == 0 else branched[2]
        for entropy in entropies:
            said = say(tree, at, path, [entropy, 5.0], "search")
            at = see(tree, said, path)
            branched.append(at)
        end(tree, said, path, Origin.GLOBAL, 1.0)
    found = rollout_metrics([Group(Sample("q"), tree)], window=1)
    # The first path reads 9 | 1 | 9 9 | 1, the second inherits 9 1 and adds 8 1: 8 is the median, not above it.
    assert found["entropy/high_runs_histogram"] == {"1": 2, "2": 1}


def test_names_that_the_policy_made_up_are_one_metric():
    tree = TrajectoryTree(global_samples=1)
    at = tree.add(None, Kind.PROMPT, [1], 0).id
    for name in ("search", "no/such\ntool", "", "wikipedia"):
        status = ToolStatus.OK if name == "search" else ToolStatus.BAD_ARGUMENTS
        at = see(tree, say(tree, at, 0, [0.1], name), 0, status=status)
    end(tree, say(tree, at, 0, [0.1]), 0, Origin.GLOBAL, 1.0)
    for tools in ((), ("search", "python")):
        found = rollout_metrics([Group(Sample("q"), tree)], tools=tools)
        assert {n: v for n, v in found.items() if n.endswith("/calls")} == {
            "tool/search/calls": 1.0,
            "tool/unknown/calls": 3.0,
        }
        assert found["tool/unknown/error_rate"] == 1.0
        assert "tool/unknown/seconds" not in found
        assert found["tool/executed_calls"] == 1.0


def test_broken_turns_that_the_policy_was_told_of_are_counted_and_have_no_entropy():
    tree = TrajectoryTree(gap=0.5, global_samples=2)
    prompt = tree.add(None, Kind.PROMPT, [1], 0).id
    broken = say(tree, prompt, 0, [9.0])
    tree.nodes[broken].error = "<think> is not closed"
    told = tree.add(broken, Kind.OBSERVATION, [2, 3], 0).id
    seen = see(tree, say(tree, told, 0, [4.0], "search"), 0)
    end(tree, say(tree, seen, 0, [1.0]), 0, Origin.PROBE, 1.0)
    end(tree, say(tree, prompt, 1, [0.5]), 1, Origin.GLOBAL, 0.0)
    group = Group(Sample("q"), tree)
    found = rollout_metrics([group])
    assert (found["format/told_turns"], found["format/broken_share"], found["stop/format"]) == (1.0, 0.5, 0.0)
    assert (found["entropy/root"], found["entropy/after_tool"]) == (0.5, 1.0)
    assert found["entropy/policy"] == pytest.approx((4.0 + 1.0 + 0.5) / 3)
    assert (found["tokens/sampled"], found["tool/executed_calls"], found["turns/mean"]) == (4.0, 1.0, 2.0)
    assert exploration_update([group], branching(4).initial_state(100)).mean_observations == 0.5


def test_results_that_were_cut_are_counted():
    tree = TrajectoryTree(global_samples=1)
    seen = see(tree, say(tree, tree.add(None, Kind.PROMPT, [1], 0).id, 0, [0.1], "search"), 0)
    tree.nodes[seen].results = (ToolResult("a\n[cut: 9 more characters]", cut=True),)
    end(tree, say(tree, seen, 0, [0.1]), 0, Origin.GLOBAL, 0.0)
    assert rollout_metrics([Group(Sample("q"), tree)])["tool/cut_results"] == 1.0
    assert "tool/cut_results" not in rollout_metrics([branching_group()])


def test_top3_share_shows_branches_piling_up():
    tree = TrajectoryTree(global_samples=4)
    prompt = tree.add(None, Kind.PROMPT, [1], 0).id
    seen = []
    for path in range(4):
        decision = BranchDecision(1.0 + path, 0.5, 0, 0.7, 1, None)
        seen.append(see(tree, say(tree, prompt, path, [0.1], "search"), path, decision))
        end(tree, say(tree, seen[-1], path, [0.1]), path, Origin.GLOBAL, 0.0)
    for path, parent in enumerate((0, 0, 1, 2, 3), 4):
        end(tree, say(tree, seen[parent], path, [0.1]), path, Origin.BRANCH, 1.0, depth=1, parent_path=parent)
    found = rollout_metrics([Group(Sample("q"), tree), silent_group()])
    assert found["branch/top3_share"] == 4 / 5


def test_a_step_teaches_gaps_deltas_and_observations():
    state = branching(4).initial_state(100)
    new = exploration_update([branching_group(), silent_group()], state)
    # The silent group's probe called nothing: its gap of 0 says nothing about tools.
    assert (new.gap.mean, new.gap.steps) == (-0.5, 1)
    deltas = [1.5 - 0.5, 0.75 - 0.5, 0.0 - 0.25]
    assert new.delta.mean == pytest.approx(sum(deltas) / 3)
    assert new.delta.mean_square == pytest.approx(sum(d * d for d in deltas) / 3)
    assert new.mean_observations == pytest.approx((2 + 1 + 1 + 2 + 0 + 0 + 0) / 7)


def test_a_step_without_tools_leaves_the_scales():
    state = branching(4).initial_state(100)
    new = exploration_update([silent_group()], state)
    assert (new.gap, new.delta, new.mean_observations) == (state.gap, state.delta, 0.0)


def test_only_clocks_are_not_comparable_between_runs():
    metrics = {"reward/mean": 1.0, "time/rollout": 2.0, "tool/search/seconds": 0.1, "tokens/per_second": 9.0}
    assert comparable(metrics) == {"reward/mean": 1.0}
