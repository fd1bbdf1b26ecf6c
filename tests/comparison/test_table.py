"""The table says what the outcomes say, worked by hand; and what a reader must know beside it."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from aepo.comparison.plan import Plan, load, plan
from aepo.comparison.table import notes, rows, tables
from aepo.terminal.table import markdown, show
from tests.comparison.staged import result

# Two seeds, three questions, two samples each.
GRPO = [result("grpo", 0, [[1, 0], [0, 0], [1, 1]]), result("grpo", 1, [[1, 1], [0, 0], [1, 0]])]
AEPO = [result("aepo", 0, [[1, 1], [1, 0], [1, 1]], calls=80), result("aepo", 1, [[1, 1], [0, 0], [1, 1]], calls=60)]


def planned(amount: int = 20, *overrides: str) -> Plan:
    return plan(load(None, ["seeds=0,1", f"budget.amount={amount}", *overrides]))


def test_means_and_differences_worked_by_hand() -> None:
    grpo, aepo = rows(planned(), [*GRPO, *AEPO])
    assert (grpo.label, grpo.seeds, grpo.differences) == ("grpo", [0, 1], {})
    assert list(aepo.success) == ["Pass@1", "Pass@2", "greedy"]
    assert grpo.success["Pass@1"].mean == pytest.approx((1.5 / 3 + 1.5 / 3) / 2)
    assert aepo.success["Pass@1"].mean == pytest.approx((2.5 / 3 + 2 / 3) / 2)
    assert grpo.success["Pass@2"].mean == pytest.approx(2 / 3)
    assert aepo.differences["Pass@1"].mean == pytest.approx(1.5 / 6)
    assert aepo.differences["greedy"].mean == 0.0 and aepo.differences["greedy"].verdict == "inside the noise"
    assert (aepo.costs["executed_calls"].mean, aepo.costs["sampled_tokens"].mean) == (70.0, 100.0)
    assert (aepo.costs["seconds"].mean, aepo.costs["steps"].mean) == (3.0, 2.0)


def test_a_difference_is_over_the_seeds_that_both_finished_with() -> None:
    (aepo,) = [row for row in rows(planned(), [GRPO[1], *AEPO]) if row.label == "aepo"]
    assert aepo.seeds == [0, 1] and aepo.differences["Pass@1"].mean == pytest.approx(0.5 / 3)
    (alone,) = rows(planned(), AEPO)
    assert alone.differences == {}


def test_runs_that_answered_other_questions_are_not_compared() -> None:
    with pytest.raises(ValueError, match="different questions"):
        rows(planned(), [GRPO[0], result("aepo", 0, [[1, 0]])])


def test_the_report_reads() -> None:
    found = rows(planned(), [*GRPO, *AEPO])
    lines = notes(planned(), found, [*GRPO, *AEPO], ["dapo, seed 1: out of memory"])
    text = markdown("grpo, aepo on atlas", tables(found), lines)
    head, *_ = text.split("\n\n")
    assert head == "# grpo, aepo on atlas"
    assert "| grpo | 2 | 50.0 [" in text and "| aepo | Pass@1 | +25.0 [" in text
    assert "compared with grpo, and each" not in text, "one comparison needs no correction"
    assert "| aepo | 2 ± 0 | 100 ± 0 | 70 ± 127 | 3 ± 0 |" in text
    assert "- Failed: dapo, seed 1: out of memory" in text
    assert "Budget of each run: 20 trajectories. Measured on 3 held-out questions, 2 samples each." in text
    assert "Before training Pass@1 was 0.0 [0.0, 56.1] %." in text
    out = io.StringIO()
    show(tables(found), lines, Console(file=out, width=80))
    assert "inside the noise" in out.getvalue()
    assert all(len(line) <= 80 for line in out.getvalue().partition("Budget of each run")[0].splitlines())


def test_several_entries_against_the_first_are_corrected_and_the_table_says_so() -> None:
    others = [replace(one, label=label) for label in ("aepo", "arpo", "dapo") for one in AEPO]
    alone = rows(planned(), [*GRPO, *AEPO])[1].differences["Pass@1"]
    found = rows(planned(20, "algorithms=grpo,aepo,arpo,dapo"), [*GRPO, *others])
    assert [row.differences["Pass@1"].p for row in found[1:]] == [pytest.approx(min(1.0, 3 * alone.p))] * 3
    assert found[1].differences["Pass@1"].low == alone.low, "intervals are as before"
    lines = notes(planned(20, "algorithms=grpo,aepo,arpo,dapo"), found, [*GRPO, *others], [])
    assert any(line.startswith("3 entries are compared with grpo") and "Holm" in line for line in lines)


def test_a_run_that_ended_before_its_budget_is_told() -> None:
    found = rows(planned(21), [*GRPO, *AEPO])
    assert [row.short_of_budget for row in found] == [[0, 1], [0, 1]]
    lines = notes(planned(21), found, [*GRPO, *AEPO], [])
    assert any("aepo (seed 0, 1) made all its train.steps before its budget was used" in line for line in lines)
    assert not any("made all" in line for line in notes(planned(), rows(planned(), GRPO), GRPO, []))


def test_entries_between_which_nothing_differed_are_named() -> None:
    twins = [replace(one, label="aepo") for one in GRPO]
    line = "grpo and aepo came to the same in every run: what distinguishes them never acted."
    assert line in notes(planned(), rows(planned(), [*GRPO, *twins]), [*GRPO, *twins], [])
    assert line not in notes(planned(), rows(planned(), [*GRPO, *AEPO]), [*GRPO, *AEPO], [])


def test_one_seed_says_what_its_intervals_leave_out() -> None:
    one = plan(load(None, ["seeds=0", "budget.amount=20"]))
    lines = notes(one, rows(one, [GRPO[0], AEPO[0]]), [GRPO[0], AEPO[0]], [])
    assert any(line.startswith("One seed: the intervals leave out") for line in lines)
