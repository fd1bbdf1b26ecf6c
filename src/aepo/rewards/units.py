r"""Reads units after a number: `5 \text{ km}` is 5 and km, `18 eggs` is 18 and eggs.

Units that Pint knows are converted. Other words (eggs, red, dollars) agree if one side's words contain the other's.
Pint takes most of a second to start, so only the child process uses this module.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import cache

import pint

_POWER = r"(?:\s*(?:\^|\*\*)\s*\{?-?\d\}?)?"
# One or two letters may be variables, so without \text only common units are read.
_SHORT = "[kcmn]m|k?g|mg|m?[lL]|[cd]l|ft|in|yd|mi|lb|oz|hr|k?Hz|k?[WNJV]|kPa|Pa|eV|[kMGT]B|ha|am|pm|[mshK]"
_WORD = rf"(?:[^\W\d_]{{3,}}+|(?<=[\d}}] )(?:{_SHORT})(?![a-zA-Z]))"
_TEXT = r"\\text\{[^{}\d]*\}"
_FIRST = rf"(?:/?\s*{_TEXT}|\^\{{?\\circ\}}?|/\s*[^\W\d_]{{3,}}+|(?<=[\s/]){_WORD}){_POWER}"
_MORE = rf"(?:[\s/.(-]*(?:{_TEXT}|[^\W\d_]++){_POWER}\)?)*+"
_PART = re.compile(rf"(\d+(?:\.\d+)?)\s*({_TEXT}|{_WORD})\.?[\s,]*")
_UNIT = re.compile(rf"(?P<body>.*[\d}})!]|.*\\pi|.*\\%)(?P<unit>\s*{_FIRST}{_MORE})\s*", re.DOTALL)
# These words change the number: "5 hundredths" is not 5.
_MATHS = re.compile(
    r"\b(?:or|and|to|not|times|plus|minus|over|divided|mod|modulo|squared|cubed|factorial|choose|if|when|where|for|is"
    r"|sqrt|sin|cos|tan|cot|sec|csc|log|ln|exp|pi|oo|inf"
    r"|hal(?:f|ves)|thirds?|quarters?|(?:four|fif|six|seven|eigh|nin|ten|hundred|thousand|million|billion)ths?)\b"
)
_DEGREES = re.compile(r"\bdegrees? ([CF])\w*")
_SPOKEN = re.compile(r"\\text|\^?\{?\\circ\}?|[{}\\()]")


def split(text: str) -> tuple[str, str]:
    """`text` without its unit, and the unit in plain words ("" if it has none)."""
    found = _UNIT.fullmatch(text)
    if not found or _MATHS.search(found["unit"]):
        return text, ""
    unit = re.sub(r"(?<=\^)\{?(-?\d)\}?", r"\1", re.sub(r"\^\{?\\circ", " degree ", found["unit"]))
    return _added(text) or (found["body"].strip(), _DEGREES.sub(r"deg\1", " ".join(_SPOKEN.sub(" ", unit).split())))


def factor(unit: str, other: str) -> Fraction | None:
    """Number of `other` in one `unit`; 1 if one of them is missing; None if they cannot be converted."""
    if not unit or not other or unit == other:
        return Fraction(1)
    try:
        zero, one = (_registry().Quantity(Fraction(n), unit).to(other).magnitude for n in (0, 1))
    except pint.DimensionalityError:
        return None
    except Exception:  # Pint may raise anything on text that it cannot read
        left, right = _stems(unit), _stems(other)
        return Fraction(1) if left <= right or right <= left else None
    return Fraction(one) if zero == 0 else None  # temperature scales have different zeros


def _added(text: str) -> tuple[str, str] | None:
    """`5 ft 11 in` in its last unit, 71 and in; None unless each part is less than one of the unit before."""
    parts = _PART.findall(text)
    if len(parts) < 2 or _PART.sub("", text):
        return None
    total, last = Fraction(0), ""
    for amount, written in parts:
        unit = _SPOKEN.sub(" ", written).strip()
        times = factor(last, unit)
        if times is None or (last and Fraction(amount) >= times):
            return None
        total, last = total * times + Fraction(amount), unit
    return str(total), last


def _stems(unit: str) -> set[str]:
    return {word.rstrip("s") for word in re.findall(r"[^\W\d_]+", unit.casefold()) if word not in ("a", "of", "the")}


@cache
def _registry() -> pint.UnitRegistry[Fraction]:
    return pint.UnitRegistry(non_int_type=Fraction)
