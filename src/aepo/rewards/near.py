"""Decides whether two numbers are equal.

math-verify rounds to six places after the point, so all tiny numbers are equal and two huge ones never agree. Here
numbers must be exactly equal, with one exception: a decimal with at least six significant digits equals any number that
rounds to it. So 0.333333 is 1/3, 0.333 is not, and 0.30000000000000004 is 0.3.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from math_verify.grader import get_pct_val, safe_sympy_doit
from sympy import Expr, Float, MatrixBase, Rational, floor, log

DIGITS = 6
_PRECISION = 60
_DOUBLE = 15  # digits that a double holds
_EXACT = 10**9


def equal(left: Expr, right: Expr) -> bool:
    """Whether two numbers are equal. A percentage equals its number and its value: 50% is 50 and 0.5."""
    here, there = get_pct_val(left, left), get_pct_val(right, right)
    if here is not left or there is not right:
        of_one = equal(100 * here, there) if here is left else there is right and equal(here, 100 * there)
        return of_one or equal(here, there)
    short, long = sorted((safe_sympy_doit(one) for one in (left, right)), key=_digits)
    one, other = _exact(short), _exact(long)
    if one == other:
        return True
    a, b = one.evalf(_PRECISION), other.evalf(_PRECISION)
    if not (a.is_number and b.is_number and a.is_finite and b.is_finite) or 0 in (a, b):
        return False
    gap, size = abs(a - b), max(abs(a), abs(b))
    fewer, more = _digits(short), _digits(long)
    if fewer == more == _EXACT:  # two spellings of an irrational number
        return not (one.is_Rational and other.is_Rational) and bool(gap <= size * 10 ** (10 - _PRECISION))
    if _DOUBLE <= more < _EXACT and gap <= size * 10**-12:
        return True
    last = 10 ** (floor(log(abs(a), 10)) - fewer + 1)
    return DIGITS <= fewer < more and bool(gap <= last / 2 or (abs(b) >= abs(a) and gap < last))


def aligned(answer: Any, gold: Any) -> tuple[Any, Any]:
    """Both without decimals; each number of the answer that equals one of the gold's is replaced by that one.

    So math-verify can compare them exactly.
    """
    theirs: dict[Expr, Expr] = {}
    gold = _numbers_as(gold, lambda number: theirs.setdefault(number, _value(number)))

    def as_there(number: Expr) -> Expr:
        return next((value for one, value in theirs.items() if equal(number, one)), _value(number))

    return _numbers_as(answer, as_there), gold


def _numbers_as(whole: Any, written: Callable[[Expr], Expr]) -> Any:
    """`whole` with its largest numeric parts rewritten."""
    if isinstance(whole, Expr) and not whole.free_symbols:
        return written(whole)
    if isinstance(whole, MatrixBase):
        return whole.applyfunc(lambda entry: _numbers_as(entry, written))
    parts = getattr(whole, "_unsorted_args", whole.args)  # math-verify compares parts in their written order
    others = [_numbers_as(part, written) for part in parts]
    return whole if others == list(parts) else whole.func(*others)


def _value(number: Expr) -> Expr:
    return _exact(safe_sympy_doit(number))


def _exact(number: Expr) -> Expr:
    return number.xreplace({one: Rational(str(one)) for one in number.atoms(Float)})


def _digits(number: Expr) -> int:
    """Significant digits of the shortest decimal in `number`; `_EXACT` if it has no decimal."""
    written = (re.sub(r"e.*|[-.]", "", str(one)).strip("0") for one in number.atoms(Float))
    return min((max(len(digits), 1) for digits in written), default=_EXACT)
