r"""What SymPy, Python and calculators print, as LaTeX: `sqrt(3)*pi/4`, `x**2 + 1`, `oo`, `Rational(1, 2)`.

Only names from a list are read, and no attribute of anything: what a policy wrote is never run as a program.
"""

from __future__ import annotations

import re

import sympy
from sympy.parsing.sympy_parser import (
    convert_xor,
    implicit_application,
    implicit_multiplication,
    parse_expr,
    rationalize,
    standard_transformations,
)

_FUNCTIONS = (
    *("sqrt", "cbrt", "root", "log", "exp", "sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan", "sinh"),
    *("cosh", "tanh", "Abs", "factorial", "binomial", "gamma", "gcd", "lcm", "floor", "ceiling", "Min", "Max"),
    *("Rational", "Integer", "Float", "Matrix", "Tuple", "FiniteSet", "Interval", "Union", "Eq", "Ne", "Lt", "Le"),
    *("Gt", "Ge"),
)
_NAMES = {name: getattr(sympy, name) for name in _FUNCTIONS} | {
    "pi": sympy.pi, "E": sympy.E, "I": sympy.I, "oo": sympy.oo, "inf": sympy.oo, "infinity": sympy.oo, "ln": sympy.log,
    "arcsin": sympy.asin, "arccos": sympy.acos, "arctan": sympy.atan, "abs": sympy.Abs, "Fraction": sympy.Rational,
    "EmptySet": sympy.EmptySet, "ImmutableMatrix": sympy.Matrix,
}  # fmt: skip
_KERNEL = {"Symbol": sympy.Symbol, "Function": sympy.Function, "Integer": sympy.Integer, "Float": sympy.Float}
_TOKEN = re.compile(r"(?P<name>[A-Za-z]+)|\d+\.?\d*(?:e[-+]?\d+)?|\.\d+|\*\*|[<>]=?|[-+*/^(),\[\]{}!\s]")
_COMPLEX = re.compile(r"(?<=\d)j(?![a-zA-Z])")  # 2+3j, as Python prints it
_MARK = re.compile(r"\*|[a-zA-Z]{2}|\(|[EI]|/|\^|\dj")
_TRANSFORMATIONS = (*standard_transformations, convert_xor, implicit_multiplication, implicit_application, rationalize)


def readings(text: str) -> list[str]:
    r"""The LaTeX that `text` may stand for: itself, and before it what SymPy makes of it if SymPy can have printed it.

    A logarithm has two readings: `log(2)` is natural when SymPy prints it, and what the other side's `\log 2` is.
    """
    if "\\" in text or not _MARK.search(text):
        return [text]
    text = _COMPLEX.sub("*I", text)
    at, names = 0, set()
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            return [text]
        at = token.end()
        names.add(token["name"] or "x")
    if any(len(name) > 1 and name not in _NAMES for name in names):
        return [text]
    symbols = {name: sympy.Symbol(name) for name in names if len(name) == 1 and name not in _NAMES}
    try:
        value = parse_expr(text, local_dict=symbols, global_dict=_NAMES | _KERNEL, transformations=_TRANSFORMATIONS)
        found = [sympy.latex(value, ln_notation=natural, mat_str="pmatrix", mat_delim="") for natural in (True, False)]
    except Exception:  # SymPy raises anything on what it cannot read
        return [text]
    return [*dict.fromkeys(found), text]
