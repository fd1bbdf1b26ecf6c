"""Mathematical answers through math-verify."""

import os
import signal
import threading

import pytest

from aepo.rewards import math as math_reward  # the reward; the module is reached by its names
from aepo.rewards.math import equivalent
from aepo.types import Leaf, Origin, Sample, StopReason, Trajectory


@pytest.mark.parametrize(
    ("answer", "target"),
    [
        ("\\frac{14}{3}", "14/3"),
        ("6 + 3\\sqrt{3}", "3\\sqrt{3} + 6"),
        ("(3, \\pi/2)", "\\left( 3, \\frac{\\pi}{2} \\right)"),
        ("q(1 - p)", "q - pq"),
        ("x = 5", "5"),
        ("\\boxed{\\frac{1}{2}}", "0.5"),
        ("$\\dfrac12$", "\\frac{1}{2}"),
        ("1,000", "1000"),
        ("\\text{Evelyn}", "Evelyn"),
        ("{3, 1, 2}", "\\{1, 2, 3\\}"),
    ],
)
def test_equal_expressions_score_one(answer, target):
    assert equivalent(answer, target) == 1.0


@pytest.mark.parametrize(
    ("answer", "target"),
    [
        ("-6", "6"),
        ("1/2", "12"),
        ("3\\sqrt{3}+6", "3\\sqrt{3}-6"),
        ("3\\sqrt{3} + 6", "3\\sqrt{3} - 6"),
        ("p + q", "p - q"),
        ("[2, 5)", "[2, 5]"),
        ("\\frac{14}{4}", "\\frac{14}{3}"),
        ("0.333", "1/3"),
    ],
)
def test_different_expressions_score_zero(answer, target):
    assert equivalent(answer, target) == 0.0


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
        "9" * 5000,
    ],
)
def test_whatever_the_policy_writes_is_a_score(text):
    assert equivalent(text, "\\frac{1}{3}") == 0.0


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
