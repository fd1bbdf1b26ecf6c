"""Formulas are written in one way, and money, units and bases are told apart from numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.rewards.formula import formula
from aepo.rewards.money import without_money
from aepo.rewards.printed import readings
from aepo.rewards.units import factor, split


@pytest.mark.parametrize(
    "written", ["\\text{\\$32,\\!348}", "$32,348", "The answer is $32,348.", "32{,}348 dollars", "USD 32 348"]
)
def test_money_is_a_number_and_its_currency(written):
    found = formula(written)
    assert (found.text, found.currency) == ("32348", "dollar")


@pytest.mark.parametrize(
    ("text", "plain", "currency"),
    [
        ("$x$ and $y$", "x and y", ""),
        ("$5, $6", "5, 6", "dollar"),
        ("$\\$18$", "18", "dollar"),
        ("$5 = 4€", "5 = 4", "dollar euro"),
        ("2 dollars and 50 cents", "2.50", "dollar"),
        ("$5, 50 cents", "5, 50", "cent dollar"),
    ],
)
def test_a_dollar_is_money_or_the_mark_of_a_formula(text, plain, currency):
    found, name = without_money(text)
    assert (" ".join(found.split()), name) == (plain, currency)


@given(st.integers(0, 10**9), st.sampled_from(["${}", "\\${}", "{} dollars", "US${}", "\\text{{\\${}}}"]))
def test_every_sum_is_read_in_every_spelling(value, way):
    for spelled in (str(value), f"{value:,}", f"{value:,}".replace(",", "{,}")):
        found = formula(way.format(spelled))
        assert (found.text, found.currency) == (str(value), "dollar")


@pytest.mark.parametrize(
    ("text", "body", "unit"),
    [
        ("5 \\text{ km}", "5", "km"),
        ("864 \\text{ inches}^2", "864", "inches ^2"),
        ("18 eggs per day", "18", "eggs per day"),
        ("90^{\\circ}", "90", "degree"),
        ("5 m", "5", "m"),
        ("5 ft 11 in", "71", "in"),
        ("1 \\text{ hour } 30.5 \\text{ minutes}", "181/2", "minutes"),
        ("5 m 3 s", "5 m 3", "s"),
        *[(text, text, "") for text in ("5m", "5 x", "2k", "\\cot x", "\\text{east}", "3 squared", "5 hundredths")],
    ],
)
def test_a_unit_is_what_stands_behind_a_number(text, body, unit):
    assert split(text) == (body, unit)


@pytest.mark.parametrize(
    ("unit", "other", "times"),
    [
        ("km", "m", 1000),
        ("eggs", "egg", 1),
        ("", "m", 1),
        ("feet", "square feet", None),
        ("degC", "degF", None),
        ("red", "blue", None),
    ],
)
def test_units_are_converted_or_are_different_things(unit, other, times):
    assert factor(unit, other) == times


def test_what_sympy_prints_becomes_latex():
    assert readings("sqrt(3)*pi/4")[0] == "\\frac{\\sqrt{3} \\pi}{4}"
    assert readings("log(2)") == ["\\ln{\\left(2 \\right)}", "\\log{\\left(2 \\right)}", "log(2)"]


@pytest.mark.parametrize(
    "text", ["().__class__", "x.y", "__import__('os')", "open(1)", "lambda: 1", "x if x else y", "'a'*2", "a_b*2"]
)
def test_no_program_is_read_as_what_sympy_prints(text):
    assert readings(text) == [text]


@given(st.text(max_size=60))
def test_any_text_has_a_way_of_writing_that_stays(text):
    formula(text)
    split(text)
