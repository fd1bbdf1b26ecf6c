"""Reads JSON that a policy wrote: any failure is a ValueError with a line the policy may be told."""

from __future__ import annotations

import json
from typing import Any

# Raw newlines inside strings are let through: policies write them in code, and the meaning is clear.
_DECODER = json.JSONDecoder(strict=False)


def load_prefix(text: str) -> tuple[Any, str]:
    """The JSON value at the start of `text`, and the text after it.

    Raises:
        ValueError: No JSON, nested too deep, or a value that cannot be stored as UTF-8 JSON (NaN, a lone surrogate).
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
    """The one JSON value that `text` is.

    Raises:
        ValueError: See `load_prefix`; or there is more after it.
    """
    value, rest = load_prefix(text)
    if rest:
        raise ValueError("not valid JSON (text after its end)")
    return value


def load_object(text: str) -> dict[str, Any]:
    """The one JSON object that `text` is.

    Raises:
        ValueError: See `load_value`; or it is not an object.
    """
    value = load_value(text)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value
