r"""Reads the output of SymPy, Python and calculators as LaTeX: `sqrt(3)*pi/4`, `x**2 + 1`, `oo`, `Rational(1, 2)`.

Only names from a list are read, and no attributes, so the policy's text is never run as a program.
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

_SYMPY = (
    "pi E I oo sqrt cbrt root log ln exp sin cos tan cot sec csc asin acos atan sinh cosh tanh Abs factorial binomial "
    "gamma gcd lcm floor ceiling Min Max Rational Integer Float Matrix ImmutableMatrix Tuple FiniteSet EmptySet "
    "Interval Union Eq Ne Lt Le Gt Ge"
)
_NAMES = {name: getattr(sympy, name) for name in _SYMPY.split()} | {
    **{"inf": sympy.oo, "infinity": sympy.oo, "abs": sympy.Abs, "Fraction": sympy.Rational},
    **{"arcsin": sympy.asin, "arccos": sympy.acos, "arctan": sympy.atan},
    "OpenInterval": sympy.Interval.open,
    "LOpenInterval": sympy.Interval.Lopen,
    "ROpenInterval": sympy.Interval.Ropen,
}
_KERNEL = {"Symbol": sympy.Symbol, "Function": sympy.Function, "Integer": sympy.Integer, "Float": sympy.Float}
_TOKEN = re.compile(r"(?P<name>[A-Za-z]+)|\d+\.?\d*(?:e[-+]?\d+)?|\.\d+|\*\*|[<>]=?|[-+*/^(),\[\]{}!&|\s]")
_COMPLEX = re.compile(r"(?<=\d)j(?![a-zA-Z])")  # 2+3j, as Python prints it
# np.float64(3.5), Decimal('3.5')
_NUMPY = re.compile(r"(?:np|numpy)\.\w+\(([^()']*)\)|(?:Decimal|mpf)\('([^()']*)'\)")
_OPEN = re.compile(r"Interval\.([LR]?)open")
_ROWS = re.compile(r"\[\s*\[.*\]\s*\]")
_MARK = re.compile(r"\*|[a-zA-Z]{2}|\[\s*\[|\(|[EI]|/|\^|\dj")
_TRANSFORMATIONS = (*standard_transformations, convert_xor, implicit_multiplication, implicit_application, rationalize)


def readings(text: str) -> list[str]:
    r"""Possible LaTeX for `text`: first SymPy's LaTeX if SymPy can have printed it, then `text` itself.

    A logarithm has two readings: `log(2)` is natural if SymPy printed it, otherwise it is the `\log 2` of the target.
    """
    if "\\" in text or not _MARK.search(text):
        return [text]
    text = _OPEN.sub(r"\1OpenInterval", _NUMPY.sub(r"\1\2", _COMPLEX.sub("*I", text)))
    text = _ROWS.sub(r"Matrix(\g<0>)", text) if _ROWS.fullmatch(text) else text
    names = {token["name"] for token in _TOKEN.finditer(text)} - {None}
    if _TOKEN.sub("", text) or any(len(name) > 1 and name not in _NAMES for name in names):
        return [text]
    symbols = {name: sympy.Symbol(name) for name in names if len(name) == 1 and name not in _NAMES}
    try:
        value = parse_expr(text, local_dict=symbols, global_dict=_NAMES | _KERNEL, transformations=_TRANSFORMATIONS)
        if isinstance(value, sympy.And | sympy.Or):
            value = value.as_set()
        found = [sympy.latex(value, ln_notation=natural, mat_str="pmatrix", mat_delim="") for natural in (True, False)]
    except Exception:  # SymPy may raise anything on text that it cannot read
        return [text]
    return [*dict.fromkeys(found), text]
