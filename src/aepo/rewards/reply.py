"""Finds the verdict in a judge model's reply.

Thoughts, end tokens, fences, quotes, labels ("Final verdict: **A**", "A) correct", `{"verdict": "A"}`) and a confidence
after the verdict are removed. The rest of the last line must be exactly one of the possible words.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import TypeVar

T = TypeVar("T")

_THOUGHT = r"think|thinking|thought|thoughts|reasoning|analysis"
_CLOSED = re.compile(rf"</(?:{_THOUGHT})>", re.IGNORECASE)
_OPEN = re.compile(rf"<(?:{_THOUGHT})>", re.IGNORECASE)
_MARKUP = re.compile(r"<\|[^<>|]*\|>|</?[a-zA-Z_]+>|^\s*(?:```|~~~)\w*\s*$|\\(?:boxed|text)\b", re.MULTILINE)
_DECORATION = re.compile(r"[*`\"'.!()\[\]{}#>$\u2600-\u27bf\U0001f300-\U0001faff\ufe0f]|(?<!\w)_|_(?!\w)")
_BETWEEN = re.compile(r"[:=,;|/\-\u2013\u2014]|(?<=^[A-Z])\s+")
_LABEL = re.compile(
    r"^\W*(?:(?:so|thus|therefore|hence|the|my|final|overall)[\s,]+)*"
    r"(?:(?:verdict|grade|answer|judge?ment|result|choice|option|letter|decision|evaluation|rating|label)\b(?:\s+is\b)?"
    r"|correct(?=\s*(?:[:=-]|is\b))(?:\s+is\b)?)\s*[:=-]*",
    re.IGNORECASE,
)
_ASIDE = re.compile(
    r"^\W*(?:(?:confidence|certainty|probability)\b|(?:reason|reasoning|explanation|justification)\W*[:=])",
    re.IGNORECASE,
)


def stated(reply: str, verdicts: Mapping[str, T]) -> T | None:
    """The meaning of the verdict in `reply`; None if there is none, an unknown one, or more than one.

    Args:
        reply: The judge's whole reply.
        verdicts: The meaning of each word; the words are in capital letters.
    """
    said = _CLOSED.split(unicodedata.normalize("NFKC", reply))[-1]
    if _OPEN.search(said):
        return None
    plain = _MARKUP.sub(" ", said)
    lines = list(_fields(plain) or _lines(plain))
    found = [_of_line(line, verdicts) for line in lines]
    known = {verdict for verdict in found if verdict is not None}
    return found[-1] if len(known) == 1 else None


def _fields(text: str) -> list[str]:
    """The lines "name: value" of a reply that is a JSON object; true is yes."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if not isinstance(data, dict):
        return []
    said = {name: ("no", "yes")[value] if isinstance(value, bool) else value for name, value in data.items()}
    return [line for name, value in said.items() if _LABEL.match(line := f"{name}: {value}")]


def _lines(text: str) -> Iterator[str]:
    return (line for line in text.splitlines() if re.search(r"[^\W_]", line) and not _ASIDE.match(line))


def _of_line(line: str, verdicts: Mapping[str, T]) -> T | None:
    bare = _DECORATION.sub(" ", line)
    while (rest := _LABEL.sub("", bare, count=1).strip()) and rest != bare:
        bare = rest
    words = [" ".join(word.split()) for word in _BETWEEN.split(bare.upper()) if word.strip()]
    found = {verdicts[word] for word in words if word in verdicts}
    return found.pop() if len(found) == 1 and all(word in verdicts for word in words) else None
