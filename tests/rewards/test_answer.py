"""Text answers: what counts as the same, and what never does."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.rewards.answer import exact_match, normalise, number, token_f1

TRAPS = [  # pairs that a punctuation-stripping normaliser calls equal
    ("-6", "6"),
    ("−6", "6"),
    ("1/2", "12"),
    ("3.5", "35"),
    (".5", "5"),
    ("3\\sqrt{3}+6", "3\\sqrt{3}-6"),
    ("3\\sqrt{3} + 6", "3\\sqrt{3} - 6"),
    ("p - q", "p + q"),
    ("(-3, 4)", "(3, 4)"),
    ("-x", "x"),
    ("10²", "102"),
    ("3½", "31/2"),
    ("C++", "C"),
    ("007", "7"),
    ("€18", "$18"),
    ("5 cents", "5 dollars"),
    ("50 cents", "$50"),
    ("50 cents", "£0.50"),
    ("p-q", "pq"),
    ("x-6", "x6"),
    ("1990-1995", "19901995"),
    ("10:30", "1030"),
]


@pytest.mark.parametrize(("answer", "target"), TRAPS)
def test_a_sign_a_point_or_a_slash_makes_another_answer(answer, target):
    assert exact_match(answer, target) == 0.0
    assert exact_match(target, answer) == 0.0
    assert exact_match(answer, answer) == exact_match(target, target) == 1.0


@pytest.mark.parametrize(("answer", "target"), [*TRAPS[:5]])
def test_token_f1_gives_nothing_for_another_number(answer, target):
    assert token_f1(answer, target) == 0.0


@pytest.mark.parametrize(
    ("answer", "target"),
    [
        ("the Alps.", "Alps"),
        ("  São   Tomé ", "Sao Tome"),
        ("Łódź", "lodz"),
        ("Tromsø", "Tromso"),
        ("Straße", "STRASSE"),
        ("Washington, D.C.", "washington dc"),
        ("O’Neill", "O'Neill"),
        ("well-known", "well known"),
        ("1990–1995", "1990-1995"),
        ("１２３", "123"),
        ("**42**", "42"),
        ("−6", "-6"),
        ("1,234", "1234"),
        *[
            (money, "18")
            for money in ("$18", "\\$18", "\\$18.00", "\\text{\\$18}", "18\\text{ dollars}", "USD 18", "€18", "$18$")
        ],
        ("-$3", "-3"),
        ("50 cents", "$0.50"),
        ("$2 and 50 cents", "250¢"),
        ("-\\$5", "-5"),
        ("\\$32,\\!348", "$32,348"),
        ("\\boxed{Paris}", "Paris"),
        ("Spider-Man", "Spiderman"),
        ("Spider-Man", "Spider Man"),
        ("Jay-Z", "JayZ"),
        ("e-mail", "email"),
        ("AC/DC", "ACDC"),
        ("F-16", "F16"),
        ("COVID-19", "COVID19"),
        ("🇵🇰.", "🇵🇰"),
        ("18.00", "18"),
        ("1/2", "0.5"),
        ("2.5e3", "2500"),
        ("A", "a"),
    ],
)
def test_spelling_variants_are_the_same_answer(answer, target):
    assert exact_match(answer, target) == 1.0
    assert token_f1(answer, target) == 1.0


def test_any_of_several_targets_will_do():
    assert exact_match("nyc", ["New York City", "NYC"]) == 1.0
    assert exact_match("Boston", ["New York City", "NYC"]) == 0.0
    assert exact_match("Boston", []) == token_f1("Boston", []) == 0.0


def test_an_empty_answer_matches_nothing():
    for target in ("", "the", "Paris", "..."):
        assert exact_match("", target) == 0.0
        assert token_f1("", target) == 0.0
    assert exact_match("!", "?") == 0.0
    assert exact_match("?", "?") == 1.0


def test_f1_is_the_harmonic_mean_over_words_for_the_best_target():
    assert token_f1("New York City", "New York") == pytest.approx(0.8)
    assert token_f1("E. H. Shepard", "Ernest Howard Shepard") == pytest.approx(1 / 3)
    assert token_f1("New York City", ["Boston", "New York", "the New York City"]) == 1.0
    assert token_f1("rose rose", "rose") == pytest.approx(2 / 3)
    assert token_f1("Paris", "London") == 0.0


def test_yes_and_no_get_no_partial_credit():
    assert token_f1("no it is not", "no") == 0.0
    assert token_f1("yes", "yes and no") == 0.0
    assert token_f1("Yes.", "yes") == 1.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-6", Fraction(-6)),
        ("+6", Fraction(6)),
        ("1,234,567.5", Fraction(2469135, 2)),
        ("-1/2", Fraction(-1, 2)),
        (".25", Fraction(1, 4)),
        ("€ 20", Fraction(20)),
        ("12.", Fraction(12)),
        ("0", Fraction(0)),
        *[(t, None) for t in ("", "-", ".", "$", "5 km", "50%", "1,23", "12,34,567", "1/0", "1/2/3", "007", "x", "²")],
        *[(t, None) for t in ("1e9999", "9" * 201, "nan", "inf", "٣", "--6", "1.2.3", "e5")],
    ],
)
def test_number_reads_plain_numbers_exactly_and_nothing_else(text, value):
    assert number(text) == value


def test_normalise_is_readable():
    assert normalise("The  Count of Bigorre, Bernard-Roger!") == "count of bigorre bernard roger"
    assert normalise("a height of -3.5 m (1,200 ft)") == "height of -3.5 m 1200 ft"
    assert normalise("No.5") == normalise("No. 5") == "no 5"


@given(st.text(max_size=40))
def test_any_text_is_itself_and_never_breaks(text):
    assert exact_match(text, text) == token_f1(text, text) == float(bool(text.strip()))


@given(st.text(max_size=20), st.text(max_size=20))
def test_scores_are_bounded_symmetric_and_f1_is_at_least_exact(a, b):
    assert 0.0 <= exact_match(a, b) <= token_f1(a, b) <= 1.0
    assert exact_match(a, b) == exact_match(b, a)
    assert token_f1(a, b) == pytest.approx(token_f1(b, a))


@given(st.fractions(max_denominator=999), st.fractions(max_denominator=999))
def test_numbers_match_only_their_own_value(a, b):
    assert exact_match(str(a), str(b)) == float(a == b)


@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9))
def test_thousands_separators_change_nothing(a, b):
    assert exact_match(f"{a:,}", str(b)) == float(a == b)
