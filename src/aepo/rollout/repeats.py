"""Calls that a trajectory has made before get the earlier result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from aepo.tools.base import Tool
from aepo.types import Kind, Node, ToolCall, ToolError, ToolResult, ToolStatus


def repeated(walk: Sequence[Node], call: ToolCall, tools: Mapping[str, Tool]) -> ToolResult | None:
    """The result of an equal call earlier in the trajectory; None if there is none that can be reused.

    Only successful results of pure tools are reused. Two calls are equal if their checked arguments are, defaults
    included.

    Args:
        walk: The trajectory so far, inherited nodes included.
        call: The policy's call.
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
