"""The table says what was counted by hand, what is undefined, and what was published by others."""

from __future__ import annotations

import pytest

from aepo.evaluation import figures, paired
from aepo.evaluation.figures import PUBLISHED, Figures, percent
from aepo.evaluation.intervals import estimate, paired_difference
from aepo.terminal.table import markdown
from tests.evaluation.scripted import scored

WORDS = Figures(
    "hotpotqa",
    "HotpotQA",
    [
        scored("a", True, False, f1=[1.0, 0.5]),
        scored("b", False, False, f1=[0.0, 0.5]),
        scored("c", True, True, f1=[1, 1]),
    ],
)
JUDGED = Figures(
    "gaia", "GAIA", [scored("a", True, None, score="judge:p:m"), scored("b", False, True, score="judge:p:m")]
)


def table(found: list[Figures]) -> str:
    return markdown("m", [figures.table(found)], figures.notes(found))


def comparison(names: tuple[str, str], pairs: list[tuple[Figures, Figures]]) -> str:
    found, told = paired.comparison(names, pairs)
    return markdown("m", [found], told)


def cells(text: str, title: str) -> list[str]:
    head, row = (
        next(line for line in text.splitlines() if line.startswith(f"| {name} |")) for name in ("data set", title)
    )
    names, values = ([cell.strip() for cell in line.strip("|").split("|")] for line in (head, row))
    return [f"{name}: {value}" for name, value in zip(names, values, strict=True)]


def test_a_row_holds_the_hand_counted_figures() -> None:
    found = estimate([0.5, 0.0, 1.0], 0.0, 1.0)
    assert cells(table([WORDS]), "HotpotQA")[:4] == [
        "data set: HotpotQA",
        "questions: 3",
        "score: words",
        f"Pass@1: 50.0 [{100 * found.low:.1f}, {100 * found.high:.1f}]",
    ]
    both = WORDS.passes(2)
    assert both is not None and both.mean == pytest.approx(2 / 3)
    assert WORDS.f1 is not None and WORDS.f1.mean == pytest.approx((0.75 + 0.25 + 1.0) / 3)
    assert cells(table([WORDS]), "HotpotQA")[-3:] == ["tool calls: 1.00", "tokens: 10", "s / question: 1.00"]


def test_pass_at_k_is_undefined_where_a_verdict_is_missing_and_the_table_says_how_many() -> None:
    assert JUDGED.passes(2) is None
    text = table([JUDGED])
    assert "Pass@2: -" in cells(text, "GAIA")
    # Read: 1 of 1, and 1 of 2. All wrong: 1/2 and 1/2; all right: 1 and 1/2.
    assert JUDGED.passes(1).mean == 0.75 and JUDGED.bounds() == (0.5, 0.75)
    assert "1 of 4 verdicts could not be read and are left out; with them Pass@1 is between 50.0 and 75.0" in text
    assert "Judge m, prompt p" in text


def test_a_data_set_that_no_judge_could_read_has_no_figure() -> None:
    lost = Figures("hle", "HLE", [scored("a", None, None, score="judge:p:m")])
    assert lost.passes(1) is None and lost.bounds() == (0.0, 1.0)
    assert "Pass@1: -" in cells(table([lost]), "HLE")


def test_more_attempts_than_were_made_are_undefined() -> None:
    single = Figures("gsm8k", "GSM8K", [scored("a", True, score="math"), scored("b", False, score="math")])
    assert "Pass@2: -" in cells(table([single, WORDS]), "GSM8K")


def test_published_figures_stand_beside_and_are_marked_as_not_measured() -> None:
    assert PUBLISHED == {"gaia": 47.6, "hle": 11.2, "webwalkerqa": 43.0}
    text = table([WORDS, JUDGED])
    assert cells(text, "GAIA")[-1] == "published Pass@1, not measured here: 47.6"
    assert cells(text, "HotpotQA")[-1] == "published Pass@1, not measured here: "
    assert "Published: AEPO, Qwen3-14B" in text
    assert "published" not in table([WORDS]).lower()


def test_a_data_set_that_is_all_right_is_not_sure_to_stay_so() -> None:
    solved = Figures("gsm8k", "GSM8K", [scored(name, True, score="math") for name in "abcdefghij"])
    text = table([solved])
    assert "Pass@1: 100.0 [72.2, 100.0]" in cells(text, "GSM8K")
    assert "Wilson's where all questions agree" in text


def test_a_single_question_has_no_interval() -> None:
    assert percent(Figures("x", "X", [scored("a", True, False)]).passes(1)) == "50.0"


OTHER = Figures(
    "hotpotqa",
    "HotpotQA",
    [scored("c", True, False, f1=[1, 1]), scored("a", False, False, f1=[0, 0.5]), scored("b", False, False, f1=[0, 0])],
)


def test_differences_are_paired_by_question_whatever_the_order() -> None:
    found = paired_difference([0.5, 0.0, 1.0], [0.0, 0.0, 0.5])
    mean, low, high = (100 * x for x in (found.mean, found.low, found.high))
    text = comparison(("one", "two"), [(WORDS, OTHER)])
    assert f"| {mean:+.1f} [{low:+.1f}, {high:+.1f}] |" in text and mean == pytest.approx(100 / 3)
    f1 = 100 * paired_difference([0.75, 0.25, 1.0], [0.25, 0.0, 1.0]).mean
    assert f"| {f1:+.1f} [" in text and f1 == pytest.approx(25.0)
    assert "| data set | questions | one | two |" in text


def test_differences_leave_out_questions_that_one_judge_could_not_read_and_say_so() -> None:
    unread = Figures(
        "gaia", "GAIA", [scored("a", None, None, score="judge:p:m"), scored("b", True, True, score="judge:p:m")]
    )
    text = comparison(("one", "two"), [(JUDGED, unread)])
    assert "| GAIA | 1 | 50.0 | 100.0 | -50.0 | - |" in text
    assert "1 questions without a readable verdict of both are left out" in text


def test_scores_of_two_kinds_or_of_other_questions_are_not_compared() -> None:
    other = Figures("gaia", "GAIA", [scored("a", True, score="judge:p2:m"), scored("b", True, score="judge:p2:m")])
    with pytest.raises(ValueError, match="scores of judge:p2:m and judge:p:m cannot be compared"):
        comparison(("one", "two"), [(JUDGED, other)])
    with pytest.raises(ValueError, match=r"2 questions were asked of one model only, e\.g\. 'b'"):
        comparison(("one", "two"), [(WORDS, Figures("hotpotqa", "H", WORDS.scored[:1]))])
