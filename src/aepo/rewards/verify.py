"""The child process of `math.py`: a line with two formulas in, a line with true or false out."""

from __future__ import annotations

import json
import logging
import re
import sys
from typing import Any

MEMORY = 4 << 30  # bytes of address space: a huge power must fail here, not on the machine
SECONDS = 3

_WORDS = re.compile(r"\\text\s*\{|(?<![\\a-zA-Z{])[a-zA-Z]{4,}")
# math-verify takes the i of 3i for any letter, and that of 3 i for the imaginary unit.
_IMAGINARY = re.compile(r"(?<=\d)i(?![a-zA-Z])")


def _limit_memory() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    except (ImportError, ValueError, OSError):  # no such limit on this system: the time limit remains
        pass


def same(answer: str, target: str, currencies: tuple[str, str]) -> bool:
    """Whether two formulas in one way of writing (`formula.py`) are the same, units included."""
    from aepo.rewards.units import factor, split

    (left, unit), (right, other) = split(answer), split(target)
    unit, other = f"{currencies[0]} {unit}".strip(), f"{currencies[1]} {other}".strip()
    times = factor(unit, other)
    if times is None or (left.endswith("\\%") and other) or (right.endswith("\\%") and unit):
        return False
    if times != 1:
        left = rf"({left}) \times \frac{{{times.numerator}}}{{{times.denominator}}}"
    golds = _parsed(right)
    return any(_equal(gold, one) for one in _parsed(left) for gold in golds)


def _parsed(text: str) -> list[list[Any]]:
    """What each reading of `text` is to SymPy; nothing for a text with words: math-verify multiplies their letters."""
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse

    from aepo.rewards.printed import readings

    normal = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none")
    latex = [LatexExtractionConfig(normalization_config=normal)]
    body = text.removesuffix("\\%")
    found = [
        parse(f"${_IMAGINARY.sub(' i', one)}$", latex, parsing_timeout=SECONDS)
        for one in readings(body)
        if not _WORDS.search(one)
    ]
    return [[_valued(value, body != text) for value in values] for values in found]


def _valued(value: Any, percent: bool) -> Any:
    """`value` with the imaginary unit, which math-verify leaves a letter, and as a percentage if it is one."""
    from latex2sympy2_extended.latex2sympy2 import convert_to_pct
    from sympy import Expr, I, Symbol

    if not isinstance(value, Expr):
        return value
    number = value.subs(Symbol("i", real=False), I)
    return convert_to_pct(number) if percent else number


def _equal(gold: list[Any], answer: list[Any]) -> bool:
    from math_verify import verify
    from math_verify.grader import is_relation

    if any(map(_states, gold)) != any(map(_states, answer)):  # math-verify takes x^2 - 4 = 0 for 0
        return False
    # math-verify takes the right side of an equation or not, by which of the two it stands in.
    orders = [(gold, answer), (answer, gold)] if any(map(is_relation, gold + answer)) else [(gold, answer)]
    return any(verify(one, two, allow_set_relation_comp=True, timeout_seconds=SECONDS) for one, two in orders)


def _states(value: Any) -> bool:
    """Whether it is an equation that gives no name its value, as x = 5 and f(x) = 2x do."""
    from math_verify.grader import is_assignment_relation, is_equation

    return is_equation(value) and not is_assignment_relation(value) and bool(value.args[0].free_symbols)


def main() -> None:
    """Answer until the input ends."""
    _limit_memory()
    try:
        from aepo.rewards import near, printed, units  # noqa: F401  (what is missing is told before the first question)
    except ImportError as error:
        print(" ".join(str(error).split()), flush=True)
        return
    near.install()
    logging.disable()
    print("ready", flush=True)
    for line in sys.stdin:
        answer, target, *currencies = json.loads(line)
        try:
            equal = same(answer, target, (currencies[0], currencies[1]))
        except Exception:  # sympy raises anything on what a policy writes
            equal = False
        print("true" if equal else "false", flush=True)


if __name__ == "__main__":
    main()
