"""What a trajectory costs, by hand."""

from __future__ import annotations

import pytest

from aepo.evaluation import figures
from aepo.evaluation.answers import Answer, Answered
from aepo.evaluation.figures import Figures
from aepo.evaluation.prices import Prices, TrajectoryCost, spent
from aepo.evaluation.scoring import Scored
from aepo.terminal.table import markdown
from aepo.types import Kind, Leaf, Origin, Sample, StopReason, ToolCall, ToolResult, ToolStatus, TrajectoryTree, flatten


def test_each_turn_reads_all_that_is_before_it() -> None:
    tree = TrajectoryTree()
    prompt = tree.add(None, Kind.PROMPT, [1] * 10, 0)
    first = tree.add(prompt.id, Kind.POLICY, [2] * 3, 0)
    # A turn that was split is one turn.
    rest = tree.add(first.id, Kind.POLICY, [2] * 2, 0)
    rest.calls = (ToolCall("search", {"query": "x"}), ToolCall("python"), ToolCall("search", {"query": "y"}))
    seen = tree.add(rest.id, Kind.OBSERVATION, [3] * 4, 0)
    seen.results = (ToolResult("found"), ToolResult("late", ToolStatus.TIMEOUT), ToolResult("found"))
    again = tree.add(seen.id, Kind.POLICY, [2], 0)
    again.calls = (ToolCall("python", {}),)
    wrong = tree.add(again.id, Kind.OBSERVATION, [3] * 2, 0)
    wrong.results = (ToolResult("no such argument", ToolStatus.BAD_ARGUMENTS),)
    last = tree.add(wrong.id, Kind.POLICY, [2] * 7, 0)
    leaf = Leaf(0, last.id, Origin.GLOBAL, StopReason.ANSWER, "yes")
    used = spent(flatten(Sample("?"), tree, leaf))
    # 10 before the first turn, 10 + 5 + 4 before the second, and 10 + 5 + 4 + 1 + 2 before the third.
    assert used == TrajectoryCost(10 + 19 + 22, 3 + 2 + 1 + 7, {"search": 2, "python": 1})


def test_tokens_are_paid_by_the_million_and_calls_one_by_one() -> None:
    prices = Prices(2.0, 8.0, {"search": 0.005, "python": 0.0})
    assert prices(TrajectoryCost(500_000, 250_000, {"search": 3, "python": 7, "other": 1})) == pytest.approx(
        1 + 2 + 0.015
    )
    assert prices and Prices(0, 0, {"search": 0.1}) and Prices(sampled=1)
    assert not Prices() and not Prices(0, 0, {"search": 0.0})


def scored(id: str, *answers: Answer) -> Scored:
    return Scored(Answered(id, f"question {id}", ("x",), answers, 1.0), "words", tuple(True for _ in answers))


def table(found: list[Figures], prices: Prices | None = None) -> str:
    return markdown("m", [figures.table(found, prices)], figures.notes(found, prices))


def test_a_table_has_costs_where_there_are_prices_and_what_was_used_is_known() -> None:
    a = scored("a", Answer("x", "answer", 1, 100, 1000, {"search": 1}), Answer("x", "answer", 0, 100, 1000, {}))
    b = scored("b", Answer("x", "answer", 2, 300, 3000, {"search": 2}), Answer("x", "answer", 0, 100, 1000, {}))
    prices = Prices(1000, 10000, {"search": 0.5})
    assert a.answered.cost(prices) == pytest.approx(2 * (1 + 1) + 0.5)
    assert b.answered.cost(prices) == pytest.approx(3 + 3 + 1 + 1 + 1)
    shown = table([Figures("gsm8k", "GSM8K", [a, b])], prices)
    assert "| cost / question |" in shown and "| 6.75 [0, 35.3] |" in shown
    assert "0.5 for a call of search" in shown
    assert "cost" not in table([Figures("gsm8k", "GSM8K", [a, b])])
    old = scored("c", Answer("x", "answer", 1, 100))
    assert old.answered.cost(prices) is None
    assert "| - |" in table([Figures("gsm8k", "GSM8K", [old])], prices)


def test_answers_of_older_files_are_read() -> None:
    line = (
        '{"format": 1, "id": "q", "question": "?", "targets": ["x"], "seconds": 1.0, '
        '"answers": [{"text": "x", "stop_reason": "answer", "calls": 1, "tokens": 9}]}'
    )
    read = Answered.from_line(line)
    assert read.answers[0].spent is None and read.tokens == 9
    assert Answered.from_line(read.to_line()) == read
