"""Too long texts are cut, and the line about it stays one line and stays true."""

from hypothesis import given
from hypothesis import strategies as st

from aepo.tools.cut import cut


def test_a_text_that_is_not_too_long_stays_whole() -> None:
    assert cut("twelve chars", 12) == "twelve chars"
    assert cut("", 0) == ""


def test_the_beginning_stays_and_the_rest_is_counted() -> None:
    assert cut("twelve chars", 6) == "twelve\n[cut: 6 more characters]"
    assert cut("twelve chars", 0) == "[cut: 12 more characters]"


def test_a_note_inside_a_text_is_text() -> None:
    text = "x [cut: 5 more characters] y"
    assert cut(text, 1) == f"x\n[cut: {len(text) - 1} more characters]"


@given(st.text(max_size=80), st.integers(0, 80), st.integers(0, 80))
def test_cutting_twice_is_cutting_once(text: str, first: int, second: int) -> None:
    assert cut(cut(text, max(first, second)), min(first, second)) == cut(text, min(first, second))
