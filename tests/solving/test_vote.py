"""Answers that are the same are one, whatever they look like; ties are told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.solving.vote import Tally, key, tally, tied


def test_the_most_frequent_answer_comes_first_in_the_spelling_that_most_used() -> None:
    found = tally(["the Hague", "The Hague", "Delft", "The Hague", None, "  "])
    assert found == (Tally("The Hague", 3), Tally("Delft", 1))
    assert tied(found) == ()


def test_numbers_are_compared_as_numbers_and_never_as_words() -> None:
    found = tally(["1,000", "1000", "$1000", "0.5", "1/2", "-6", "6"])
    assert [(one.answer, one.votes) for one in found] == [("1,000", 3), ("0.5", 2), ("-6", 1), ("6", 1)]


@pytest.mark.parametrize(
    ("answers", "votes"),
    [
        (["€5", "$5"], [("€5", 1), ("$5", 1)]),
        (["$5", "5", "€5"], [("$5", 2), ("€5", 1)]),
        (["5", "€5", "$5"], [("5", 2), ("$5", 1)]),
        (["$0.50", "50 cents", "50"], [("$0.50", 2), ("50", 1)]),
        (["Spider-Man", "\\boxed{Spiderman}"], [("Spider-Man", 2)]),
    ],
)
def test_answers_are_the_same_where_rewards_say_so(answers: list[str], votes: list[tuple[str, int]]) -> None:
    assert [(one.answer, one.votes) for one in tally(answers)] == votes


def test_among_equals_the_first_one_is_taken_and_all_are_told() -> None:
    found = tally(["Lima", "Quito", "Quito", "Lima", "Bogota"])
    assert found[0] == Tally("Lima", 2)
    assert tied(found) == (Tally("Lima", 2), Tally("Quito", 2))


def test_a_reward_comes_before_votes_and_votes_decide_among_equal_rewards() -> None:
    answers, rewards = ["Lima", "Lima", "Quito", "Bogota", "Bogota"], [0.2, 0.1, 0.9, 0.9, -1.0]
    found = tally(answers, rewards)
    assert found == (Tally("Bogota", 2, 0.9), Tally("Quito", 1, 0.9), Tally("Lima", 2, 0.2))


def test_nobody_who_answers_leaves_nothing_to_choose_from() -> None:
    assert tally([None, " ", None]) == () and tied(()) == ()


@given(st.lists(st.one_of(st.none(), st.sampled_from(["7", "7.0", "seven", "Seven!", "a seven", "-7", "07"]))))
def test_every_answer_votes_once_and_the_winner_has_most(answers: list[str | None]) -> None:
    found = tally(answers)
    assert sum(one.votes for one in found) == sum(answer is not None for answer in answers)
    assert len({key(one.answer) for one in found}) == len(found)
    assert [one.votes for one in found] == sorted((one.votes for one in found), reverse=True)
