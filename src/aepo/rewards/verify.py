"""The child process of `math.py`. It reads lines with two formulas and writes lines with true or false."""

from __future__ import annotations

import json
import logging
import math
import re
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import product
from typing import Any

from latex2sympy2_extended import NormalizationConfig
from latex2sympy2_extended.latex2sympy2 import convert_to_pct
from math_verify import LatexExtractionConfig, parse, verify
from math_verify.errors import TimeoutException
from math_verify.grader import is_assignment_relation, is_equation, is_relation
from sympy import Expr, I, Symbol

from aepo.rewards.money import rate
from aepo.rewards.near import aligned
from aepo.rewards.printed import readings
from aepo.rewards.units import factor, split

# Bytes of address space. A huge power fails before it fills the machine's memory.
MEMORY = 4 << 30
# CPU seconds of one call of math-verify, and of a whole comparison. The machine's load does not change them.
SECONDS, LIMIT = 3, 10
DIGITS = 1000  # math-verify takes a smaller difference for 0

_LATEX = [
    LatexExtractionConfig(
        normalization_config=NormalizationConfig(
            basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none"
        )
    )
]
_WORDS = re.compile(r"\\text\s*\{|(?<![\\a-zA-Z{])[a-zA-Z]{4,}")
_CLOCK = re.compile(r"\d{1,2}:[0-5]\d")  # a time, not a ratio such as 3:2
# math-verify reads the i of 3i as a letter, and that of 3 i as the imaginary unit.
_IMAGINARY = re.compile(r"(?<=\d)i(?![a-zA-Z])")


def same(answer: str, target: str, currency: str, other_currency: str) -> bool:
    """Whether two normalised formulas (`formula.py`) are equal, units included."""
    (left, unit), (right, other) = split(answer), split(target)
    worth = rate(currency, other_currency)
    unit = f"{currency if worth == 1 else other_currency} {unit}".strip()
    other = f"{other_currency} {other}".strip()
    times = factor(unit, other)
    if worth is None or times is None or (left.endswith("\\%") and other) or (right.endswith("\\%") and unit):
        return False
    times *= worth
    if _CLOCK.fullmatch(left) or _CLOCK.fullmatch(right):
        return times == 1 and left.lstrip("0") == right.lstrip("0")
    if times != 1:
        left = rf"({left}) \times \frac{{{times.numerator}}}{{{times.denominator}}}"
    return any(_equal(gold, one) for one, gold in product(_parsed(left), _parsed(right)))


def _parsed(text: str) -> list[Any]:
    """Possible SymPy expressions of `text`; empty if it has words, because math-verify multiplies their letters."""
    body = text.removesuffix("\\%")
    found = [_parse(f"${_IMAGINARY.sub(' i', one)}$") for one in readings(body) if not _WORDS.search(one)]
    return [_valued(value, body != text) for values in found for value in values]


def _parse(text: str) -> list[Any]:
    with _limited():
        return parse(text, _LATEX, parsing_timeout=None)


def _verify(gold: Any, answer: Any) -> bool:
    with _limited():
        return verify(gold, answer, numeric_precision=DIGITS, allow_set_relation_comp=True, timeout_seconds=None)


@contextmanager
def _limited() -> Iterator[None]:
    """End math-verify after `SECONDS` of CPU time, in place of its own limit by the clock."""

    def end(number: int, frame: object) -> None:
        raise TimeoutException

    signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _valued(value: Any, percent: bool) -> Any:
    """`value` with the imaginary unit, which math-verify reads as a letter, and as a percentage if it is one."""
    if not isinstance(value, Expr):
        return value
    number = value.subs(Symbol("i", real=False), I)
    return convert_to_pct(number) if percent else number


def _equal(gold: Any, answer: Any) -> bool:
    if isinstance(gold, str) or isinstance(answer, str):  # math-verify also returns the text
        return bool(gold == answer)
    if _states(gold) != _states(answer):  # math-verify reads x^2 - 4 = 0 as 0
        return False
    answer, gold = aligned(answer, gold)
    # math-verify may take only the right side of an equation, which depends on the order of the two.
    orders = [(gold, answer), (answer, gold)] if is_relation(gold) or is_relation(answer) else [(gold, answer)]
    return any(_verify(one, two) for one, two in orders)


def _states(value: Any) -> bool:
    """Whether it is an equation, except one that only names a value, such as x = 5 and f(x) = 2x."""
    return is_equation(value) and not is_assignment_relation(value) and bool(value.args[0].free_symbols)


def main() -> None:
    """Answer lines until the input ends."""
    with suppress(ValueError, OSError):  # a system without this limit still has that on time
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    logging.disable()
    print("ready", flush=True)
    for line in sys.stdin:
        # At the limit the system kills this process, and the parent sees it at once.
        limit = math.ceil(time.process_time()) + LIMIT
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        try:
            equal = same(*json.loads(line))
        except Exception:  # sympy may raise anything on a policy's text
            equal = False
        print("true" if equal else "false", flush=True)


if __name__ == "__main__":
    main()
