"""The table shows what was measured beside what it is compared with, and why a part is missing."""

from __future__ import annotations

from dataclasses import replace

from aepo.bench.parts import BenchPart, Described, Measured
from aepo.bench.report import lines, notes, to_json
from aepo.bench.runner import LATE
from aepo.engines.local.shape import Shape

SHAPE = Shape(596_049_920, 28, 1024, 3072, 2048, 1024, 151_936, 40_960)
ABOUT = Described("qwen3-0.6b", SHAPE, SHAPE.parameters, "bfloat16", "a GPU", False, 80 << 30, 8, "torch 2")
PART = BenchPart("sampling", 64, 128, 64)
SAMPLING = Measured(PART, figures={"tokens_per_second": 900.0}, peak=3 << 30, estimate=2 << 30)
GENERATE = Measured(replace(PART, kind="generate"), figures={"tokens_per_second": 300.0}, peak=4 << 30)
FLAT = Measured(
    BenchPart("flat", 16, 1536, 256),
    figures={"tokens_per_second": 1000.0, "seconds": 28.0, "optimizer_seconds": 0.25},
)
TREE = replace(FLAT, part=replace(FLAT.part, kind="tree"), figures={**FLAT.figures, "seconds": 7.0, "sharing": 4.0})


def test_generate_stands_beside_sampling_and_the_tree_beside_flat() -> None:
    table = lines([SAMPLING, GENERATE, FLAT, TREE])
    assert table[1] == ["sampling, 64 rows", "900 tokens/s", "", "3.0 GiB", "2.0 GiB"]
    assert table[2] == ["generate, 64 rows", "300 tokens/s", "sampling is 3.00 x as fast", "4.0 GiB", ""]
    assert [row[:2] for row in table[3:5]] == [["training, flat", "1,000 tokens/s"], ["optimizer step", "250.0 ms"]]
    assert table[5][2] == "0.25 of flat's time"


def test_what_did_not_do_the_same_is_not_compared() -> None:
    shorter = replace(GENERATE, part=GENERATE.part.with_tokens(8))
    assert lines([SAMPLING, shorter])[2][2] == ""
    assert lines([replace(FLAT, state="out of memory"), TREE])[2][2] == ""


def test_a_part_that_is_missing_says_why_below_the_table() -> None:
    full = replace(FLAT, state="out of memory", note="the device's memory is full while training", figures={})
    assert lines([full])[1][:2] == ["training, flat", "out of memory"]
    told = notes(ABOUT, [SAMPLING, full, replace(TREE, note="for lack of time trajectories have 8 tokens, not 256")])
    assert told == [
        "qwen3-0.6b: 596.0 M parameters, bfloat16, on a GPU, torch 2",
        "estimate: what aepo doctor says of the peak memory",
        "training: trajectories share tokens, so that flat reads each of them 4 times and the tree once",
        "training, flat: out of memory: the device's memory is full while training",
        "training, tree: for lack of time trajectories have 8 tokens, not 256",
    ]


def test_parts_that_are_missing_for_the_same_reason_share_a_line() -> None:
    late = [replace(one, state="left out", note=LATE, figures={}) for one in (SAMPLING, FLAT, TREE)]
    assert notes(ABOUT, late)[1:] == [f"sampling, 64 rows; training, flat; training, tree: left out: {LATE}"]


def test_json_has_every_figure_and_whether_a_part_should_have_fitted() -> None:
    large = replace(FLAT, estimate=90 << 30)
    found = to_json(ABOUT, [SAMPLING, GENERATE, large])
    assert [part["fits"] for part in found["parts"].values()] == [True, None, False]
    assert found["parts"]["sampling, 64 rows"]["tokens_per_second"] == 900.0
    assert found["machine"]["dtype"] == "bfloat16" and found["shape"]["layers"] == 28


def test_adapters_are_counted() -> None:
    assert "596.0 M parameters, 10.1 M of them trained, " in notes(replace(ABOUT, trained=10_100_000), [])[0]
