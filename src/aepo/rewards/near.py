"""How near two numbers must be to be one, in place of math-verify's rule.

math-verify rounds to six places after the point: every tiny number equals every other, and two huge ones never agree.
Here numbers are equal exactly, with one exception: a decimal stands for a longer number that it is the rounding of, if
it has at least six digits that matter. So 0.333333 is 1/3 and 0.333 is not, and 0.30000000000000004 is 0.3.
"""

from __future__ import annotations

import re
from typing import Any

from math_verify import grader
from sympy import Expr, Float, MatrixBase, MatrixExpr, Rational, floor, log

DIGITS = 6
_DOUBLE = 15  # digits that a double holds
_PRECISION = 60
_EXACT = 10**9

_library = grader.sympy_numeric_eq


def install() -> None:
    """Have math-verify compare numbers by the rule of this module, in this process."""
    grader.sympy_numeric_eq = _numeric_eq


def equal(left: Expr, right: Expr) -> bool:
    """Whether two numbers are one. A percentage is its number and its value: 50% is 50 and 0.5."""
    parts = [grader.get_pct_val(one) for one in (left, right)]
    if all(part is not None for part in parts):
        return equal(*parts)
    if any(part is not None for part in parts):
        plain, percent = (left, parts[1]) if parts[0] is None else (right, parts[0])
        return equal(plain, percent) or equal(100 * plain, percent)
    short, long = sorted((grader.safe_sympy_doit(one) for one in (left, right)), key=_digits)
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


def _numeric_eq(left: Any, right: Any, *precision: int) -> bool:
    if isinstance(left, MatrixBase | MatrixExpr) or isinstance(right, MatrixBase | MatrixExpr):
        return bool(_library(left, right, *precision))  # it comes back here for each entry
    return not (left.free_symbols or right.free_symbols) and equal(left, right)


def _exact(number: Expr) -> Expr:
    return number.xreplace({one: Rational(str(one)) for one in number.atoms(Float)})


def _digits(number: Expr) -> int:
    """The digits that matter of the shortest decimal in `number`; more than any decimal has if it is exact."""
    written = (re.sub(r"e.*|[-.]", "", str(one)).strip("0") for one in number.atoms(Float))
    return min((max(len(digits), 1) for digits in written), default=_EXACT)
