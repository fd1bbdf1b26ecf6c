"""Calls that a trajectory has made before: the answer is known, so nobody need be asked again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from aepo.tools.base import Tool
from aepo.types import Kind, Node, ToolCall, ToolError, ToolResult, ToolStatus


def repeated(walk: Sequence[Node], call: ToolCall, tools: Mapping[str, Tool]) -> ToolResult | None:
    """The result that an equal call had earlier in the trajectory; None if there is none to rely on.

    Only tools that are pure are relied on, and only results that are no failures. Equal are calls whose checked
    arguments are, defaults included.

    Args:
        walk: The trajectory so far, inherited nodes included.
        call: What the policy asks for.
        tools: By name.
    """
    tool = tools.get(call.name)
    if tool is None or not tool.pure or call.error is not None:
        return None
    wanted = _canonical(tool, call)
    for node, after in pairwise(walk):
        if node.kind is not Kind.POLICY or node.call is None or after.result is None:
            continue
        same = node.call.name == call.name and node.call.error is None and after.result.status is ToolStatus.OK
        if same and wanted is not None and _canonical(tool, node.call) == wanted:
            return ToolResult(after.result.text, repeated=True)
    return None


def _canonical(tool: Tool, call: ToolCall) -> str | None:
    try:
        return tool.canonical(call.arguments)
    except ToolError:
        return None
