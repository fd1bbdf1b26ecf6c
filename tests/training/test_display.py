import io
import math
import re

import pytest
from rich.console import Console

from aepo.training.display import PLAIN_WIDTH, Display, clock_text, plain_lines, trend

STEP = {
    "reward/mean": 0.5,
    "success/mean": 0.45,
    "entropy/root": 0.51,
    "entropy/after_tool": 0.87,
    "clip/high_fraction": 0.02,
    "budget/m_mean": 4.25,
    "budget/m_histogram": {"4": 3, "5": 1},
    "branch/share": 0.4,
    "tool/executed_calls": 1234.0,
    "tokens/sampled": 50_000.0,
    "time/rollout": 2.5,
    "time/train": 1.25,
}


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def shown(width=120, terminal=True, clock=None):
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=width, legacy_windows=False, _environ={"TERM": "xterm"})
    return Display(console, clock or Clock()), out


def picture(display, width):
    console = Console(file=io.StringIO(), width=width, record=True, _environ={})
    console.print(display.render())
    return console.export_text()


def test_without_a_terminal_each_step_is_one_plain_line():
    display, out = shown(terminal=False, width=40)
    display.start(200, "AEPO [atlas]", done=3)
    display.step(4, {"eval/success": 0.4})
    display.phase("rollout")
    display.step(5, {**STEP, "eval/success": 0.625, "eval/tokens": 200.4})
    display.message("checkpoint after step 5")
    display.stop()
    assert out.getvalue().splitlines() == [
        "AEPO [atlas]: 200 steps, resumed after 3",
        "step   4/200  evaluation  success 0.400",
        "step   5/200  reward 0.500  success 45.0%  H_root 0.510  H_tool 0.870  clip+ 2.0%  m 4.2  branch 40.0%  "
        "calls 1,234  tok/s 20,000  rollout 2.5s  train 1.2s",
        "step   5/200  evaluation  success 0.625  tokens 200",
        "checkpoint after step 5",
    ]


def test_plain_lines_fit_whatever_the_numbers_are():
    huge = dict.fromkeys(STEP, 1.2345e12) | {f"eval/{i}_{'x' * 30}": 1e12 for i in range(9)}
    lines = plain_lines(123456, 1234567, huge)
    assert len(lines) == 2
    assert all(60 < len(line) <= PLAIN_WIDTH for line in lines)
    assert plain_lines(1, 2, {}) == ["step 1/2"]


def test_the_panel_shows_the_key_metrics_and_the_evaluations():
    display, _ = shown()
    display.start(20, "AEPO [atlas]")
    display.step(0, {"eval/success": 0.401, "eval/pass_at_5": 0.7})
    for step in range(1, 11):
        more = {"eval/success": 0.5 + step / 1000} if step % 2 == 0 else {}
        display.step(step, {**STEP, "reward/mean": step / 10, **more})
    display.phase("train")
    text = picture(display, 120)
    display.stop()
    for part in ("AEPO [atlas]", "step 10/20", "train 0 s"):
        assert part in text
    assert re.search(r"reward +1\.000 +0\.550 +▁▁▂▃▄▅▆▇██", text)
    for row in ("root entropy", "tool entropy", "clipped high", "executed calls", "tokens a second", "rollout"):
        assert row in text
    # The first evaluation stays, the middle ones make room.
    assert re.search(r"before training +0\.401 +0\.700", text)
    assert "after step 10 " in text and "after step 2 " not in text
    assert "broken format" not in text


@pytest.mark.parametrize("width", [60, 80, 100, 112, 160])
def test_the_panel_fits_its_terminal(width):
    display, _ = shown(width)
    display.start(20, "AEPO")
    display.step(1, {**STEP, "eval/success": 0.5})
    lines = picture(display, width).splitlines()
    display.stop()
    assert all(len(line) <= width for line in lines)
    if width >= 80:
        assert not any("…" in line for line in lines)


def test_a_terminal_without_unicode_gets_no_bars():
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    console = Console(file=out, force_terminal=True, width=120, _environ={"TERM": "xterm"})
    display = Display(console, Clock())
    display.start(20, "AEPO über Städte")
    display.phase("rollout")
    display.step(1, {**STEP, "eval/success": 0.5})
    display.message("schön")
    display.stop()
    out.flush()
    text = out.buffer.getvalue().decode("ascii")
    assert "reward" in text and "step 1/20" in text


def test_the_last_panel_stays_on_the_screen_and_the_cursor_comes_back():
    display, out = shown()
    display.start(2, "AEPO")
    display.step(1, STEP)
    display.message("checkpoint after step 1")
    display.step(2, STEP)
    display.stop()
    display.stop()
    text = out.getvalue()
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "checkpoint after step 1" in text and "step 2/2" in text[text.rindex("AEPO") :]


def test_the_time_left_follows_the_steps_of_this_session():
    clock = Clock()
    display, _ = shown(terminal=False, clock=clock)
    display.start(100, "AEPO", done=90)
    assert display.seconds_left() is None
    for step in (91, 92):
        clock.now += 10.0
        display.step(step, STEP)
    assert display.seconds_left() == 80.0
    clock.now += 4.0
    assert display.seconds_left() == 76.0
    # A step that takes longer than the others does not eat into the rest.
    clock.now += 1000.0
    assert display.seconds_left() == 70.0


def test_an_evaluation_of_a_step_shown_before_is_no_new_step():
    clock = Clock()
    display, _ = shown(terminal=False, clock=clock)
    display.start(10, "AEPO")
    clock.now = 10.0
    display.step(1, STEP)
    clock.now = 40.0
    display.step(1, {"eval/success": 0.5})
    assert display.seconds_left() == 90.0


def test_values_that_cannot_be_drawn_are_left_out():
    display, _ = shown()
    display.start(10, "AEPO")
    display.step(1, {"reward/mean": math.nan, "success/mean": math.inf, "entropy/root": None, "branch/share": 0.5})
    text = picture(display, 120)
    display.stop()
    assert "nan" not in text and "success" not in text and "begun as branches" in text


def test_trends_and_clocks():
    assert trend([0.0, 1.0], 16) == "▁█"
    assert trend([0.2] * 40, 16) == "▄" * 16
    assert trend([float(i) for i in range(64)], 8) == "▁▂▃▄▅▆▇█"
    assert [clock_text(s) for s in (0, 42.4, 725, 11250)] == ["0:00", "0:42", "12:05", "3:07:30"]
