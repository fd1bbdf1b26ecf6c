r"""Reads sums of money in text: `$18`, `\$18`, `US$ 18`, `-\$5`, `18 dollars`, `EUR 18`, `\text{\$18}`.

A `$` is also the sign of a formula, `$x$`. Pandoc's rule decides: the signs of a formula have no space on their inner
side, and no digit after the second one.
"""

from __future__ import annotations

import re
from fractions import Fraction

_WRITTEN = {
    "dollar": ("$", "USD", "dollar", "bucks"),
    "euro": ("€", "EUR", "euro"),
    "pound": ("£", "GBP", "sterling"),
    "yen": ("¥", "￥", "JPY", "yen"),
    "yuan": ("CNY", "RMB", "yuan"),
    "rupee": ("₹", "INR", "rupee"),
    "won": ("₩", "KRW"),
    "rouble": ("₽", "rouble", "ruble"),
    "franc": ("CHF", "franc"),
    "cent": ("¢", "cent"),
    "penny": ("pence",),
}
_HUNDREDTHS = {"cent": ("dollar", "euro"), "penny": ("pound",)}
_NAMES = {mark.casefold(): name for name, marks in _WRITTEN.items() for mark in marks}
_COMMANDS = {"pounds": "pound"}  # the word is a weight
_SIGN = "".join(mark for mark in _NAMES if not mark.isalpha())
_WORD = "|".join(mark for mark in _NAMES if mark.isalpha())
_MONEY = re.compile(
    rf"\\?(?<![a-z])(?:(?i:US)\s?)?\\?(?P<sign>[{re.escape(_SIGN)}])"
    r"|\\(?:text|math)?(?P<command>pounds|dollar|sterling|euro|yen|cent)(?![a-zA-Z])(?:\{\})?"
    rf"|(?<![A-Za-z\\])(?<!per )(?:(?i:US)\s)?(?P<word>(?i:{_WORD}))s?(?![A-Za-z])\.?"
)
_COINS = re.compile(
    r"(?P<sum>[$€£] ?\d[\d,]*(?<!,)|\d[\d,]*(?= (?:dollar|euro)))(?P<word> (?:dollar|euro)s?)?(?: and)? "
    r"(?P<coins>\d\d?) (?:cents?|pence)(?![a-zA-Z])"
)
_EMPTY = re.compile(r"(?:\\(?:text|math)[a-z]*\s*|(?<!\\))\{\s*\}")
_INSIDE = r"(?:[^$\\]|\\.)*+"
_FORMULA = re.compile(
    rf"(?<!\\)(?:\$\$(?P<display>{_INSIDE})\$\$|\$(?=\S)(?P<inline>{_INSIDE})(?<!\s)\$(?!\d)"
    r"|\\\[(?P<bracket>.+?)\\\]|\\\((?P<paren>.+?)\\\))",
    re.DOTALL,
)


def without_money(text: str) -> tuple[str, str]:
    """`text` without signs of formulas and of money, and the names of its currencies ("" for none).

    Args:
        text: A short text: an answer, not a solution.
    """
    inner = _FORMULA.sub(lambda formula: f" {formula[formula.lastgroup or 0]} ", text)
    if not re.search(r"\d", inner):  # a word alone is no sum of money
        return inner, ""
    inner = _COINS.sub(lambda found: f"{found['sum']}.{found['coins']:>02}{found['word'] or ''}", inner)
    found = {(_COMMANDS | _NAMES)[mark[mark.lastgroup or 0].casefold()] for mark in _MONEY.finditer(inner)}
    return _EMPTY.sub(" ", _MONEY.sub(" ", inner)), " ".join(sorted(found))


def rate(currency: str, other: str) -> Fraction | None:
    """Number of `other` in one `currency`; 1 if one of them is not named; None if they cannot be converted."""
    if not currency or not other or currency == other:
        return Fraction(1)
    if other in _HUNDREDTHS.get(currency, ()):
        return Fraction(1, 100)
    return Fraction(100) if currency in _HUNDREDTHS.get(other, ()) else None
