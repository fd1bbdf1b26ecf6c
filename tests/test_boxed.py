r"""The last box of a text: one way to find it, for policies, solutions and targets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.boxed import last_boxed


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        (r"\boxed{1} then \boxed{\frac{a}{b^{2}}}.", r"\frac{a}{b^{2}}"),
        (r"\boxed{1} and then \boxed{2}", "2"),
        (r"First \boxed{3}. Wait, \fbox{4}", "4"),
        (r"\boxed{42} since the set \{1, 2\} has {two}", "42"),
        (r"\boxed{42} }} and {", "42"),
        (r"so $\boxed 7$.", "7"),
        (r"\boxed {7}", "7"),
        (r"\\boxed{7}", "7"),
        (r"\boxed{\text{a {b}}}", r"\text{a {b}}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{ x \right.}", r"\left\{ x \right."),
        (r"\boxed{x = \boxed{4}}", "4"),
        (r"\boxed{1} or \boxed{2", "1"),
        (r"\boxed{4}. I wrote it in \boxed.", "4"),
        (r"\boxed{ }", ""),
        (r"\boxed{never closed", None),
        (r"\boxedish{1}", None),
        ("nothing", None),
    ],
)
def test_the_last_whole_box_counts_with_its_braces(text, inside):
    assert last_boxed(text) == inside


@pytest.mark.parametrize("text", ["\\boxed{" * 20_000, "\\boxed x" * 20_000, "{" * 100_000, "\\" * 100_000])
def test_a_long_text_without_a_whole_box_has_none(text):
    assert last_boxed(text) is None


@given(st.lists(st.sampled_from(["\\boxed{", "\\fbox{", "{", "}", "\\{", "\\", "$", "x", " "]), max_size=30), st.text())
def test_what_is_boxed_last_is_found_whatever_stands_before(pieces, text):
    before = "".join(pieces)
    last_boxed(before + text)
    assert last_boxed(before + " \\boxed{1{2}3}") == "1{2}3"
