"""Finds the JSON-RPC messages in a server's output, and accepts most mistakes of form.

A message that answers a request always ends that request: with the result if it can be read, else with an error.
"""

from __future__ import annotations

import json
import re
from typing import Any

UNREADABLE = "the server's reply cannot be read; ask in another way, or go on without it"
NO_RESULT = "the tool answered with something that is no result"

_INTERNAL_ERROR = -32603
_KEPT = 512
_MOST_TRIES = 1000
_ID = re.compile(rb'"id" {0,9}: {0,9}"?(\d{1,18})(?:\.0)?"? {0,9}[,}\r\n]')
_HALF = re.compile("[\ud800-\udfff]")
_BEGINNING = re.compile(r'\{\s{0,99}(?:["}]|$)')
# Not strict: control characters within strings are accepted.
_DECODER = json.JSONDecoder(strict=False)


def messages(text: bytes) -> tuple[list[dict[str, Any]], bool]:
    """Find the messages in a piece of output.

    Text before, between and after them is skipped: a byte-order mark, words, the brackets of a batch.

    Returns:
        The messages, and True if the output also holds the beginning of a message that cannot be read.
    """
    decoded = text.decode("utf-8", "replace")
    found: list[dict[str, Any]] = []
    at = decoded.find("{")
    for _ in range(_MOST_TRIES):
        if at < 0:
            break
        try:
            value, end = _DECODER.raw_decode(decoded, at)
        except (ValueError, RecursionError):
            if _BEGINNING.match(decoded, at):
                # An object inside a broken message is not a message itself.
                return found, True
            at = decoded.find("{", at + 1)
            continue
        message = _message(_whole(value) if "\\ud" in decoded or "\\uD" in decoded else value)
        if message is not None:
            found.append(message)
        at = decoded.find("{", end)
    return found, False


def failure(number: int | str | None, words: str, code: int = _INTERNAL_ERROR) -> dict[str, Any]:
    """Make an error that answers a request."""
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": words}}


def answered(head: bytes, tail: bytes) -> int | None:
    """Find the request that a reply answers, from the reply's beginning and end alone; None if it is not found."""
    before = head[:_KEPT].partition(b'"result"')[0]
    if b'"method"' in before:  # not a reply
        return None
    found = _ID.search(before) or next(reversed(list(_ID.finditer(tail[-_KEPT:]))), None)
    return int(found[1]) if found else None


def _message(value: dict[str, Any]) -> dict[str, Any] | None:
    """Give an object the members that JSON-RPC requires; None if it is no message."""
    number, ours = _number(value.get("id")), "jsonrpc" in value
    if isinstance(method := value.get("method"), str) and ours:
        named = {} if number is None else {"id": number}
        params = {"params": value["params"]} if isinstance(value.get("params"), dict) else {}
        return {"jsonrpc": "2.0", **named, "method": method, **params}
    if (error := value.get("error")) is not None and (ours or number is not None):
        fields = error if isinstance(error, dict) else {"message": error}
        code, words = fields.get("code"), fields.get("message")
        words = words if isinstance(words, str) else "" if words is None else json.dumps(words, ensure_ascii=False)
        return failure(number, words, code if type(code) is int else _INTERNAL_ERROR)
    if number is None or not (ours or "result" in value):
        return None  # perhaps a line of a log
    if isinstance(result := value.get("result"), dict):
        return {"jsonrpc": "2.0", "id": number, "result": result}
    return failure(number, NO_RESULT)


def _number(value: Any) -> int | str | None:
    """Read the id of a message; libraries without whole numbers write 3 as 3.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def _whole(value: Any) -> Any:
    """Replace lone surrogates, which cannot be encoded."""
    try:
        return json.loads(_HALF.sub("\ufffd", json.dumps(value, ensure_ascii=False)))
    except RecursionError:
        return {"jsonrpc": "2.0", "id": value.get("id"), "error": {"message": UNREADABLE}}
