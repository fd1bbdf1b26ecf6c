"""Mathematical answers through math-verify."""

import os
import signal
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aepo.boxed import unboxed
from aepo.rewards import math as math_reward  # the reward; the module is reached by its names
from aepo.rewards.formula import formula
from aepo.rewards.math import equivalent
from aepo.types import Leaf, Origin, Sample, StopReason, Trajectory

WAYS = [
    "\\boxed{{{}}}",
    "  {} ",
    "The answer is {}.",
    "\\[ {} \\]",
    "**{}**",
    "First \\boxed{{qxzy}}, then \\boxed{{{}}}.",
]
TABLE = [line.split("\t") for line in Path(__file__).with_name("formulas.tsv").read_text("utf-8").splitlines()[1:]]


@pytest.mark.parametrize(("answer", "target", "equal", "reason"), TABLE)
def test_a_pair_of_the_table_is_equal_or_not_both_ways_round(answer, target, equal, reason):
    assert equivalent(answer, target) == equivalent(target, answer) == float(equal), reason


def test_the_table_holds_both_verdicts():
    assert len(TABLE) >= 120 and sum(row[2] == "0" for row in TABLE) >= 50


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_equals_itself_however_it_is_wrapped(way):
    for answer in {unboxed(text) for row in TABLE for text in row[:2]}:
        assert equivalent(way.format(answer), answer) == 1.0, answer


def test_any_target_will_do():
    assert equivalent("\\frac{2}{4}", ["7", "x", "\\frac{1}{2}"]) == 1.0
    assert equivalent("1", []) == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "$",
        "$$",
        "\\frac{",
        "{{{{",
        "\\boxed{",
        "\\",
        "\x00",
        "1\n2",
        "é∑\ud800",
        "import os",
        "(" * 500,
        "9" * 100_000,
        "\\boxed{" * 10_000,
        "\\frac{" * 300,
        "$" * 1999,
        "\\text{" * 300,
        "1," * 900,
        "1 " * 900,
        "{" * 1999,
        "-" * 1999,
        "5 " + "km " * 600,
        "().__class__",
        "factorial(factorial(factorial(9)))",
    ],
)
def test_whatever_the_policy_writes_is_a_score(text):
    assert equivalent(text, "\\frac{1}{3}") == 0.0


PIECES = [
    "1",
    "2",
    ".",
    ",",
    "\\$",
    "$",
    "€",
    " ",
    "{",
    "}",
    "(",
    ")",
    "\\frac",
    "\\text{",
    "km",
    "x",
    "=",
    "<",
    "-",
    "%",
    "_8",
]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=12).map("".join), st.text(max_size=12))
def test_a_score_is_nought_or_one_and_the_same_both_ways_round(left, right):
    assert equivalent(left, right) == equivalent(right, left) in (0.0, 1.0)
    assert equivalent(left, left) == float(bool(formula(left).text))


def test_it_works_in_threads():
    scores = {}

    def ask(n):
        scores[n] = equivalent(f"\\frac{{{2 * n}}}{{6}}", "\\frac{n}{3}".replace("n", str(n)))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(1, 5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert scores == dict.fromkeys(range(1, 5), 1.0)


def test_a_comparison_that_never_ends_is_killed_and_the_next_one_works(monkeypatch):
    import importlib

    module = importlib.import_module("aepo.rewards.math")
    assert equivalent("\\frac{2}{6}", "\\frac{1}{3}") == 1.0  # started
    child = module._running()
    os.kill(child.pid, signal.SIGSTOP)  # a child that never answers
    monkeypatch.setattr(module, "SECONDS", 0.2)
    assert equivalent("\\frac{2}{6}", "\\frac{1}{3}") == 0.0
    assert child.poll() is not None
    monkeypatch.undo()
    assert equivalent("\\frac{2}{6}", "\\frac{1}{3}") == 1.0
    assert module._running() is not child


def test_the_reward_reads_the_trajectory():
    leaf = Leaf(0, 0, Origin.PROBE, StopReason.ANSWER, answer="\\frac{3}{6}")
    trajectory = Trajectory(Sample("?"), [], [], [], [], 0, [], [], leaf)
    assert math_reward(Sample("?", "1/2", "q1"), trajectory) == 1.0
    with pytest.raises(ValueError, match="'q2' has no target"):
        math_reward(Sample("?", "", "q2"), trajectory)


def test_seconds_are_those_of_computing_so_that_a_busy_machine_changes_no_verdict(monkeypatch):
    import importlib

    module = importlib.import_module("aepo.rewards.math")
    assert equivalent("\\frac{2}{6}", "\\frac{1}{3}") == 1.0  # started
    child = module._running()
    asked = module._ask

    def held_back(child, line, seconds):
        """Ask a process that gets no processor for longer than it may compute."""
        os.kill(child.pid, signal.SIGSTOP)
        threading.Timer(4.0, os.kill, (child.pid, signal.SIGCONT)).start()
        return asked(child, line, seconds)

    monkeypatch.setattr(module, "_ask", held_back)
    assert equivalent("\\frac{x^2-1}{x-1}", "x+1") == 1.0
    assert module._running() is child
