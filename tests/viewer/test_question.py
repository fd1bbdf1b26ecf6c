"""What the page is told of a question, against counts made by hand."""

import json

import pytest

from aepo.types import Kind, Leaf, Origin, StopReason, ToolCall, ToolResult, TrajectoryTree
from aepo.viewer import Record
from aepo.viewer.question import digest, whole
from tests.viewer.conftest import WHY, picture, three_calls, told_line, world_line


def test_a_question_is_counted_as_the_list_shows_it(example_lines):
    q = digest(Record.from_dict(example_lines[0]), 3)
    assert (q["index"], q["m"], q["branches"], len(q["origins"])) == (3, 3, 4, 8)
    assert q["calls"] == 5  # one call a result, although four paths share the first
    assert q["solved"] == 3
    rewards = [1, 0, -1, 0.5, 1, 1.1, 0, 0]
    mean = sum(rewards) / 8
    assert q["rewards"] == rewards and q["reward"] == pytest.approx(mean)
    assert q["spread"] == pytest.approx((sum((r - mean) ** 2 for r in rewards) / 8) ** 0.5)
    assert q["format_errors"] == 1 and q["tool_errors"] == 1
    assert q["without_call"] == 1  # the one that knew it
    assert q["distinct"] == sum(len(n["tokens"]) for n in example_lines[0]["tree"]["nodes"]) < q["flat"]


def test_each_call_of_a_turn_counts_and_has_its_result():
    q = whole(Record.from_dict(three_calls()), 0)
    assert (q["calls"], q["tool_errors"], q["without_call"]) == (2, 1, 0)  # the repeated one was not executed
    assert [call["name"] for call in q["nodes"][1]["calls"]] == ["search", "python", "search"]
    assert [(r["status"], r["repeated"]) for r in q["nodes"][2]["results"]] == [
        ("ok", False),
        ("error", False),
        ("ok", True),
    ]
    assert q["nodes"][2]["results"][1]["text"] == "ZeroDivisionError: division by zero"


def test_the_text_of_a_single_result_is_told_once(example_lines):
    results = [n["results"] for n in whole(Record.from_dict(example_lines[0]), 0)["nodes"] if n["results"]]
    assert results and all("text" not in one for (one,) in results)


def test_a_broken_turn_has_its_error_and_no_advantages():
    q = whole(Record.from_dict(told_line()), 0)
    assert [node["error"] for node in q["nodes"]] == [None, "<search> is not closed", None, None, None, None]
    assert (q["format_errors"], len(q["leaves"][0]["advantages"])) == (1, q["nodes"][3]["size"] + q["nodes"][5]["size"])
    assert [result["cut"] for result in q["nodes"][4]["results"]] == [True]


def resampled_line():
    """A question whose second path makes the first one's call anew."""
    tree = TrajectoryTree(global_samples=1)
    tree.add(None, Kind.PROMPT, [1], 0)
    call = tree.add(0, Kind.POLICY, [2, 3, 4], 0)
    call.entropies, call.calls = [0.1, 0.2, 1.5], (ToolCall("search", {"query": "x"}),)
    tree.add(1, Kind.OBSERVATION, [5], 0).results = (ToolResult("nothing"),)
    answer = tree.add(2, Kind.POLICY, [6], 0)
    anew = tree.add(tree.split(1, 2).id, Kind.POLICY, [7], 1)
    answer.entropies, anew.entropies = [0.3], [0.4]
    tree.leaves = [
        Leaf(0, answer.id, Origin.GLOBAL, StopReason.ANSWER, "no", reward=0.0),
        Leaf(1, anew.id, Origin.RESAMPLED, StopReason.ANSWER, "yes", parent_path=0, reward=1.0),
    ]
    ordered = tree.in_path_order()
    texts = [[f"{n.kind} {t} " for t in n.tokens] for n in ordered.nodes]
    return {"step": 1, "sample": {"question": "?"}, "tree": json.loads(ordered.to_json()), "token_texts": texts}


def test_a_call_that_was_made_anew_leaves_its_path_inside_a_turn():
    q = whole(Record.from_dict(resampled_line()), 0)
    assert (q["m"], q["branches"], q["origins"]) == (1, 1, ["global", "resampled"])
    assert q["outline"] == [[0, None, 0, 5, 0.0], [1, 0, 2, 3, 1.0]]  # path, parent, start, end, reward
    assert [(n["parent"], n["kind"], n["path"], n["size"]) for n in q["nodes"]] == [
        (None, "prompt", 0, 1),
        (0, "policy", 0, 2),
        (1, "policy", 0, 1),
        (2, "observation", 0, 1),
        (3, "policy", 0, 1),
        (1, "policy", 1, 1),
    ]
    assert (q["distinct"], q["flat"]) == (7, 6 + 4)


def test_a_call_that_was_not_executed_is_not_counted(example_lines):
    example_lines[0]["tree"]["nodes"][2]["results"][0]["status"] = "bad_arguments"
    assert digest(Record.from_dict(example_lines[0]), 0)["calls"] == 4


def test_trees_without_rewards_are_told_too(example_lines):
    for leaf in example_lines[0]["tree"]["leaves"]:
        leaf["reward"] = None
    q = digest(Record.from_dict(example_lines[0]), 0)
    assert (q["reward"], q["spread"], q["solved"]) == (None, None, 0)


def test_what_the_update_did_stands_at_nodes_and_leaves(example_lines):
    q = whole(Record.from_dict(example_lines[0]), 0)
    assert q["clip"] == [0.2, 0.28]
    assert q["nodes"][0]["ratios"] is None and q["nodes"][1]["ratios"][:2] == [1.5, 1.0]
    walk = [n for n in (1, 2, 3, 4, 5) if q["nodes"][n]["kind"] == "policy"]
    assert len(q["leaves"][0]["advantages"]) == sum(q["nodes"][n]["size"] for n in walk)


def test_older_files_say_nothing_of_the_update(example_lines):
    del example_lines[0]["update"]
    q = whole(Record.from_dict(example_lines[0]), 0)
    assert q["clip"] is None and q["nodes"][1]["ratios"] is None and q["leaves"][0]["advantages"] is None


def test_states_outcomes_and_lost_worlds_are_told():
    q = whole(Record.from_dict(world_line()), 0)
    assert (q["environment"], q["refused"], q["lost"], q["tool_errors"]) == ("shop", 1, 1, 1)
    assert [node["refused"] for node in q["nodes"] if node["refused"]] == [[WHY]]
    assert q["nodes"][2]["state"] == {"page": "results", "cart": [], "picture": picture(40)}
    assert [leaf["outcome"] for leaf in q["leaves"]] == [1.0, 0.0, 0.0, 0.0]
    assert [leaf["state"] and leaf["state"]["cart"] for leaf in q["leaves"]] == [["desk lamp"], [], None, []]
