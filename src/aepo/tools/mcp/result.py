"""Makes the text that a model reads from a tool's result of any shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aepo.tools.mcp.messages import NO_RESULT
from aepo.types import ToolError


def text_of(result: Mapping[str, Any]) -> str:
    """Join the texts of a result; if it has none, take its structured content as JSON.

    Raises:
        ToolError: The result says that it is an error (its text is the message), or it is no result.
    """
    content, structured = result.get("content"), result.get("structuredContent")
    if "content" not in result and structured is None:
        raise ToolError(NO_RESULT)
    blocks = content if isinstance(content, list) else [] if content is None else [content]
    parts = [_part(block) for block in blocks]
    if structured is not None and not any(isinstance(b, str) or _kind(b) == "text" for b in blocks):
        parts.append(_json(structured))
    text = "\n".join(parts)
    if result.get("isError") is True:
        raise ToolError(text or "the tool failed and does not say why")
    return text or "done; it returned nothing"


def _part(block: Any) -> str:
    if isinstance(block, str):
        return block
    if not isinstance(block, Mapping):
        return _json(block)
    kind, text, uri = _kind(block), block.get("text"), block.get("uri")
    if kind == "text" and isinstance(text, str):
        return text
    if kind == "resource_link" and isinstance(uri, str):
        return f"[link: {uri}]"
    if kind == "resource" and isinstance(held := block.get("resource"), Mapping):
        words = held.get("text")
        return words if isinstance(words, str) else f"[{held.get('mimeType') or 'data'!s:.80} omitted]"
    return f"[{kind or 'data'} omitted]"


def _kind(block: Any) -> str:
    kind = block.get("type") if isinstance(block, Mapping) else None
    return kind[:80] if isinstance(kind, str) else ""


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        raise ToolError("the tool's result is nested too deep to be read") from None
