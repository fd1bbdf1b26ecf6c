"""Rules are scored on places whose worth is known; a tree gives the places that its continuations show."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from aepo import config
from benchmarks.where_branches_pay import (
    CONTINUATIONS,
    SLOTS,
    Place,
    best,
    chosen_by_question,
    deep_grpo,
    figures,
    lines,
    sampled,
    table,
    tenths,
)
from tests import tiny


def outcomes(successes: int) -> list[bool]:
    return [number * successes % 12 < successes for number in range(12)]


def place(question: int, path: int, number: int, entropy: float, successes: int, succeeded: bool = True) -> Place:
    return Place(question, path, number, 3, entropy, 0.2, succeeded, outcomes(successes), 3.0 - number, 10.0)


def world(questions: int = 12) -> list[Place]:
    """High entropy marks the places that are open; low entropy those that are sure."""
    rng = random.Random(0)
    found = []
    for question in range(questions):
        for path in range(6):
            for number in (1, 2, 3):
                entropy = rng.random()
                successes = 6 if entropy > 0.6 else 12 if entropy > 0.2 else 0
                found.append(place(question, path, number, entropy, successes, succeeded=rng.random() < 0.5))
    return found


def test_v_has_no_bias() -> None:
    # The chance that two of 12 continuations, without the same one twice, differ: 2 * 6 * 6 / (12 * 11).
    assert place(0, 0, 1, 1.0, 6).v == pytest.approx(72 / 132)
    assert place(0, 0, 1, 1.0, 0).v == place(0, 0, 1, 1.0, 12).v == 0.0


def test_figures_are_by_places_calls_and_tokens() -> None:
    one, other = place(0, 0, 1, 1.0, 6), place(0, 0, 3, 1.0, 12)
    found = figures([one, other])
    assert found.v == pytest.approx(one.v / 2)
    assert found.v_call == pytest.approx(one.v / 2.6)
    assert found.v_tokens == pytest.approx(1000 * one.v / 20)
    assert found.d == pytest.approx(0.25)
    assert figures([]).v == 0.0


def test_entropy_that_marks_open_places_comes_near_the_oracle_and_both_pass_random() -> None:
    chosen = chosen_by_question(world())
    by_name = {row[0]: float(row[3].split()[0]) for row in lines(chosen, draws=20)[1:]}
    assert by_name["oracle, v"] >= by_name["highest entropy"] > 1.2 * by_name["random"] > by_name["lowest entropy"]
    assert by_name["contrast, two fresh"] > by_name["random"]
    for name, by_question in chosen.items():
        assert max(len(places) for places in by_question.values()) <= 8 * SLOTS, name
    paced = [row for row in lines(chosen, draws=5) if row[0].startswith("AEPO")]
    assert 0 < float(paced[0][1]) <= SLOTS


def test_deep_grpo_chooses_inside_failures() -> None:
    rule = deep_grpo(world())
    offered = [one for one in world() if one.question == 0]
    assert not any(one.succeeded for one in rule(offered, random.Random(0)))
    assert rule([one for one in offered if one.succeeded], random.Random(0)) == []


def test_a_table_learns_from_other_questions_and_shrinks() -> None:
    p, calls = table(world())
    assert p(place(99, 0, 1, 0.05, 0)) < 0.4 < p(place(99, 0, 1, 0.4, 0))
    assert calls(place(99, 0, 1, 0.4, 0)) > calls(place(99, 0, 3, 0.4, 0))


def test_tenths_show_that_a_mean_of_products_is_no_product_of_means() -> None:
    # In one tenth half of the places are sure successes, half sure failures: v is 0, but of the mean it is a half.
    rows = tenths([place(0, 0, 1, 0.1, 12 * (number % 2)) for number in range(20)])
    assert rows[-1][3:] == ["0.500", "0.000", "0.500"]


def test_equal_scores_are_ordered_by_chance() -> None:
    offered = [place(0, path, 1, 0.5, 6) for path in range(40)]
    rule = best(lambda one: 0.0)
    assert rule(offered, random.Random(1)) != rule(offered, random.Random(2))


def test_a_model_gives_places_with_all_their_continuations(tmp_path: Path, model_folder: Path) -> None:
    settings = config.load(None, tiny.settings(tmp_path / "run", model_folder))
    found = sampled(settings, 2, 10.0)
    assert found and {len(one.outcomes) for one in found} == {CONTINUATIONS}
    assert all(1 <= one.number <= one.observations and one.tokens > 0 for one in found)
    assert {one.question for one in found} <= {0, 1}
