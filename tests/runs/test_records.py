"""Trees that earlier versions wrote are read as they were."""

import json
from pathlib import Path

from aepo.runs.records import read_trees
from aepo.types import ToolCall, ToolResult, TrajectoryTree
from aepo.viewer.question import whole
from tests.viewer.conftest import write_trees

OLD = Path(__file__).parent / "tree_of_format_1.json"
"""A line of a run's `trees/`, as it was written when a turn had one call: three paths, two calls, a branch."""


def test_a_line_of_a_run_whose_turns_had_one_call_is_read(tmp_path):
    line = json.loads(OLD.read_text(encoding="utf-8"))
    assert line["tree"]["format"] == 1 and line["tree"]["nodes"][2]["call"]
    write_trees(tmp_path / "step-000001.jsonl.gz", [line])
    (record,) = read_trees(tmp_path / "step-000001.jsonl.gz")
    tree = record.group.tree
    assert [node.calls for node in tree.nodes if node.calls] == [
        (ToolCall("search", {"query": "aa"}),),
        (ToolCall("search", {"query": "beg"}),),
    ]
    assert [node.results for node in tree.nodes if node.results] == [(ToolResult("faa"),), (ToolResult("gbe"),)]
    paths = list(record.group.trajectories())
    assert [[call.arguments["query"] for call, _ in path.calls] for path in paths] == [[], ["aa", "beg"], ["aa"]]
    assert [path.reward for path in paths] == record.group.rewards == [0.0, 1.0, 0.25]
    shown = whole(record, 0)
    assert (shown["calls"], shown["without_call"], len(shown["nodes"])) == (2, 1, 8)
    assert TrajectoryTree.from_json(tree.to_json()) == tree, "written again it is of the present format"
