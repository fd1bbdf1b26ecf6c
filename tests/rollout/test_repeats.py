"""Which earlier result of a trajectory answers a call."""

from __future__ import annotations

import pytest

from aepo.rollout.repeats import repeated
from aepo.tools.base import Tool, tool
from aepo.types import Kind, Node, ToolCall, ToolResult, ToolStatus, TrajectoryTree


@tool(pure=True)
def look(word: str, times: int = 1) -> str:
    """Look.

    Args:
        word: What.
        times: How often.
    """
    return word * times


@tool
def draw(word: str) -> str:
    """Draw a lot.

    Args:
        word: Of what.
    """
    return word


TOOLS: dict[str, Tool] = {"look": look, "draw": draw}


def walk(*calls: tuple[ToolCall, ToolResult]) -> list[Node]:
    tree = TrajectoryTree()
    node = tree.add(None, Kind.PROMPT, [1], 0)
    for call, result in calls:
        node = tree.add(node.id, Kind.POLICY, [2], 0)
        node.calls = (call,)
        node = tree.add(node.id, Kind.OBSERVATION, [3], 0)
        node.results = (result,)
    return tree.walk(tree.add(node.id, Kind.POLICY, [4], 0).id)


SEEN = walk(
    (ToolCall("look", {"word": "b"}), ToolResult("down", ToolStatus.ERROR)),
    (ToolCall("look", {"word": "b"}), ToolResult("b", seconds=2.0)),
    (ToolCall("look", {"word": "c", "times": 2}), ToolResult("cc")),
    (ToolCall("look", {"word": "d"}, error="arguments are not JSON"), ToolResult("bad", ToolStatus.BAD_ARGUMENTS)),
    (ToolCall("draw", {"word": "b"}), ToolResult("b")),
)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (ToolCall("look", {"word": "b"}), "b"),
        (ToolCall("look", {"times": "1", "word": "b"}), "b"),
        (ToolCall("look", {"word": "c", "times": 2}), "cc"),
        (ToolCall("look", {"word": "c"}), None),
        (ToolCall("look", {"word": "d"}), None),
        (ToolCall("look", {"word": "b"}, error="arguments are not JSON"), None),
        (ToolCall("look", {"size": 1}), None),
        (ToolCall("draw", {"word": "b"}), None),
        (ToolCall("unknown", {"word": "b"}), None),
    ],
)
def test_only_a_success_of_an_equal_call_of_a_pure_tool_is_an_answer(call: ToolCall, text: str | None) -> None:
    found = repeated(SEEN, call, TOOLS)
    assert found == (None if text is None else ToolResult(text, repeated=True))
    assert found is None or not found.executed


def test_nothing_is_repeated_in_a_trajectory_that_begins() -> None:
    assert repeated(walk(), ToolCall("look", {"word": "b"}), TOOLS) is None
