"""Reads JSON that a policy wrote; a failure is a ValueError whose message the policy may see."""

from __future__ import annotations

import json
from typing import Any

# Policies write raw newlines inside strings, in code for example, and the meaning is clear.
_DECODER = json.JSONDecoder(strict=False)


def load_prefix(text: str) -> tuple[Any, str]:
    """The JSON value at the start of `text`, and the text after it.

    Raises:
        ValueError: The text is no JSON, is nested too deep, or cannot be stored as UTF-8 JSON (NaN, a lone surrogate).
    """
    text = text.strip()
    try:
        value, end = _DECODER.raw_decode(text)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except json.JSONDecodeError as problem:
        raise ValueError(f"not valid JSON ({problem.msg.lower()} at character {problem.pos})") from None
    except UnicodeEncodeError:
        raise ValueError("not valid JSON (half of a surrogate pair)") from None
    except RecursionError:
        raise ValueError("not valid JSON (nested too deep)") from None
    except ValueError:
        raise ValueError("not valid JSON (a number that JSON cannot hold)") from None
    return value, text[end:].strip()


def load_value(text: str) -> Any:
    """The JSON value of the whole `text`.

    Raises:
        ValueError: As `load_prefix`, or text follows the value.
    """
    value, rest = load_prefix(text)
    if rest:
        raise ValueError("not valid JSON (text after its end)")
    return value


def load_object(text: str) -> dict[str, Any]:
    """The JSON object of the whole `text`.

    Raises:
        ValueError: As `load_value`, or the value is not an object.
    """
    value = load_value(text)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value
