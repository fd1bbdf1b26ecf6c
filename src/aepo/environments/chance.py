"""Draws calls at random that fit the schemas of tools, with words that a world has shown."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from aepo.tools.base import Tool
from aepo.types import ToolCall

_WORD = re.compile(r"\w+")
RECENT = 3
"""Half of the calls take words from so many last texts, the others from all: an opening often lists what there is."""


def draw_call(draw: random.Random, tools: Sequence[Tool], texts: Sequence[str]) -> ToolCall:
    """A call of one of the tools.

    Args:
        draw: Source of chance.
        tools: The tools.
        texts: What the world has shown so far.
    """
    tool = draw.choice(tools)
    read = texts if draw.random() < 0.5 else texts[-RECENT:]
    # Each word once: else those of refusals would crowd out the others.
    words = list(dict.fromkeys(word for text in read for word in _WORD.findall(text))) or ["a"]
    return ToolCall(tool.name, drawn_object(draw, tool.parameters, words))


def drawn_object(draw: random.Random, schema: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """An object with all required properties, and each of the others by chance."""
    required = schema.get("required", [])
    properties = schema.get("properties", {}).items()
    return {name: _drawn(draw, one, words) for name, one in properties if name in required or draw.random() < 0.5}


def _drawn(draw: random.Random, schema: Mapping[str, Any], words: Sequence[str]) -> Any:
    if "enum" in schema:
        return draw.choice(schema["enum"])
    if "anyOf" in schema:
        return _drawn(draw, draw.choice(schema["anyOf"]), words)
    kinds = schema.get("type", "string")
    kind = draw.choice(kinds) if isinstance(kinds, list) else kinds
    numbers = [int(word) for word in words if word.isdecimal() and len(word) < 9]
    match kind:
        case "integer":
            return draw.choice([*numbers, draw.randrange(10)])
        case "number":
            return float(draw.choice([*numbers, draw.randrange(10)]))
        case "boolean":
            return draw.random() < 0.5
        case "array":
            if "prefixItems" in schema:
                return [_drawn(draw, one, words) for one in schema["prefixItems"]]
            return [_drawn(draw, schema.get("items", {}), words) for _ in range(draw.randrange(3))]
        case "object":
            inner = schema.get("additionalProperties", {})
            return {draw.choice(words): _drawn(draw, inner, words)} if isinstance(inner, dict) else {}
        case "null":
            return None
    return draw.choice(words)
