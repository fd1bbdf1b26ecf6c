"""How near two numbers must be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sympy import Float, Rational, pi

from aepo.rewards.near import equal


@given(st.integers(-400, 400), st.integers(1, 99), st.integers(1, 99))
def test_size_does_not_matter(power, a, b):
    scale = Rational(10) ** power
    assert equal(a * scale, b * scale) == (a == b)
    assert equal(a * scale * pi, b * scale * pi) == (a == b)


@given(st.fractions(1, 1000, max_denominator=97), st.integers(1, 12))
def test_a_decimal_is_the_number_that_it_rounds(value, digits):
    exact = Rational(value.numerator, value.denominator)
    written = Float(f"{float(value):.{digits - 1}e}")
    assert equal(written, exact) or digits < 6
    assert not equal(written + Float(10 ** (4 - digits)), exact)


@pytest.mark.parametrize(("left", "right"), [("123456.5", "123456.4"), ("0.333", "0.3333"), ("1.0000001", "1.0")])
def test_short_decimals_are_exact(left, right):
    assert not equal(Float(left), Float(right))


def test_a_double_is_the_decimal_that_it_stands_for():
    assert equal(Float(repr(0.1 + 0.2)), Float("0.3"))
