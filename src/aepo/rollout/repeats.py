"""Finds equal calls, and the earlier result for a call that a trajectory has made before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise

from aepo.tools.base import Tool
from aepo.types import Kind, Node, ToolCall, ToolError, ToolResult, ToolStatus


def repeated(walk: Sequence[Node], call: ToolCall, tools: Mapping[str, Tool]) -> ToolResult | None:
    """The result of an equal call earlier in the trajectory; None if there is none that can be reused.

    Only successful results are reused.

    Args:
        walk: The trajectory so far, inherited nodes included.
        call: The policy's call.
        tools: The tools by name.
    """
    wanted = shared_key(call, tools)
    if wanted is None:
        return None
    for node, after in pairwise(walk):
        if node.kind is not Kind.POLICY or not after.results:
            continue
        for earlier, result in zip(node.calls, after.results, strict=True):
            if result.status is ToolStatus.OK and shared_key(earlier, tools) == wanted:
                return again(result)
    return None


def again(result: ToolResult) -> ToolResult:
    """The result in the form of an answer to an equal call."""
    return ToolResult(result.text, repeated=True)


def shared_key(call: ToolCall, tools: Mapping[str, Tool]) -> str | None:
    """The key of a call; calls with the same key may share a result.

    Two calls have the same key if their checked arguments are equal, defaults included. A call that cannot be run, or
    whose tool is not pure, has None.
    """
    tool = tools.get(call.name)
    if tool is None or not tool.pure or call.error is not None:
        return None
    try:
        return json.dumps([call.name, tool.canonical(call.arguments)])
    except ToolError:
        return None
