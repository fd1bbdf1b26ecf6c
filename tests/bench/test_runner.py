"""Parts that are compared do the same; what does not fit into the time is left out with a reason."""

from __future__ import annotations

import time

import pytest

from aepo.bench.parts import BenchPart, Measured, planned
from aepo.bench.runner import LATE, Bench, following, least_seconds
from tests.bench import toy


def test_each_part_is_planned_once_within_the_positions_of_the_model() -> None:
    parts = planned([64, 1, 64], 128, 64, 1024)
    assert [part.name for part in parts] == [
        "sampling, 1 row",
        "sampling, 64 rows",
        "sampler and trainer",
        "weight push",
        "generate, 1 row",
        "generate, 64 rows",
        "training, flat",
        "training, tree",
    ]
    step, longer = parts[-1], parts[-1].with_tokens(parts[-1].tokens + 1)
    assert step.prompt + step.tokens <= 1024 < longer.prompt + longer.tokens
    assert planned([1], 128, 64, None)[-1].tokens == 256


def test_what_is_compared_has_the_tokens_of_what_came_first() -> None:
    short = Measured(BenchPart("sampling", 64, 128, 24))
    failed = Measured(BenchPart("sampling", 16, 128, 8), "failed")
    flat = Measured(BenchPart("flat", 16, 60, 10))
    done = [short, failed, flat]
    assert following(BenchPart("generate", 64, 128, 64), done).tokens == 24
    assert following(BenchPart("generate", 16, 128, 64), done).tokens == 64
    tree = following(BenchPart("tree", 16, 1536, 256), done)
    assert (tree.tokens, tree.prompt) == (10, 60)


def test_the_time_of_more_rows_is_expected_from_that_of_fewer() -> None:
    done = [
        Measured(BenchPart("generate", rows, 128, 64), figures={"least_seconds": seconds})
        for rows, seconds in ((1, 1.0), (16, 2.5))
    ]
    assert least_seconds(BenchPart("generate", 64, 128, 64), done) == pytest.approx(7.3)
    assert least_seconds(BenchPart("generate", 64, 128, 64), done[:1]) == 0.0
    assert least_seconds(BenchPart("sampling", 64, 128, 64), done) == 0.0


def test_when_the_time_is_up_every_other_part_is_left_out() -> None:
    said: list[str] = []
    bench = Bench(toy.subject(), (1, 2), 8, 8, time.monotonic() + 300, said.append)
    measured = bench.measure()
    first = next(measured)
    assert (first.state, first.part.name) == ("measured", "sampling, 1 row")
    bench.end = time.monotonic()
    others = list(measured)
    assert len(others) == 7 and {(one.state, one.note) for one in others} == {("left out", LATE)}
    assert said[0] == "toy: loading" and said[1].startswith("sampling, 1 row (1 of 8, ")


def test_on_a_cpu_a_part_that_needs_more_than_there_is_is_not_tried() -> None:
    bench = Bench(toy.subject(), (1, 1 << 22), 2000, 8, time.monotonic() + 300, lambda text: None)
    found = {one.part.name: one for one in bench.measure() if one.part.kind == "sampling"}
    assert found["sampling, 1 row"].state == "measured"
    large = found[f"sampling, {1 << 22} rows"]
    assert large.state == "left out" and large.note.startswith("it needs about ")
