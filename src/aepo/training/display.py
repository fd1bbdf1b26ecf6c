"""Shows a training run: a live panel on a terminal, elsewhere one plain line per step."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from rich.console import Console, RenderableType
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from aepo.terminal.screen import PLAIN_WIDTH, Screen, framed, progress

Show = Callable[[float], str]

EVALUATIONS = 4
# A narrower panel has no room for trends.
TRENDS_WIDTH = 112
_BARS = "▁▂▃▄▅▆▇█"


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


_tenth, _seconds, _count = "{:.1f}".format, "{:.1f} s".format, "{:,.0f}".format

# The title on the panel, the name on the plain line, the metric, and its format.
LEARNING: tuple[tuple[str, str, str, Show], ...] = (
    ("reward", "reward", "reward/mean", _number),
    ("success", "success", "success/mean", _percent),
    ("root entropy", "H_root", "entropy/root", _number),
    ("tool entropy", "H_tool", "entropy/after_tool", _number),
    ("groups w. spread", "", "group/spread_share", _percent),
    ("broken format", "", "format/broken_share", _percent),
    ("clipped high", "clip+", "clip/high_fraction", _percent),
    ("clipped low", "", "clip/low_fraction", _percent),
    ("ratios off at first", "", "logprobs/rollout_outside_share", _percent),
)
SPENDING: tuple[tuple[str, str, str, Show], ...] = (
    ("global samples m", "m", "budget/m_mean", _tenth),
    ("begun as branches", "branch", "branch/share", _percent),
    ("executed calls", "calls", "tool/executed_calls", _count),
    ("calls saved", "", "tool/saved_share", _percent),
    ("tokens sampled", "", "tokens/sampled", _count),
    ("tokens a second", "tok/s", "tokens/per_second", _count),
    ("rollout", "rollout", "time/rollout", _seconds),
    ("training", "train", "time/train", _seconds),
)


class Display:
    """Shows the progress of a run: call `start`, then `phase` and `step` as the run goes on, then `stop`.

    Args:
        console: The console to write to, standard output by default. A panel needs a terminal.
        clock: Gives seconds, for the time left.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._screen = Screen(self.render, console)
        self._clock = clock
        self._title, self._total, self._done = "", 0, 0
        self._phase, self._phase_start = "", clock()
        self._spinner = Spinner("dots" if self._screen.unicode else "line")
        self._durations: deque[float] = deque(maxlen=20)
        self._started = self._step_end = clock()
        self._history: dict[str, list[float]] = {}
        self._evaluations: list[tuple[int, dict[str, float]]] = []

    def start(self, total_steps: int, title: str, done: int = 0) -> None:
        """Begin.

        Args:
            total_steps: The number of steps of the whole run.
            title: A few words about the run.
            done: The number of steps that an earlier part of the run has made.
        """
        self._title, self._total, self._done = title, total_steps, done
        self._started = self._step_end = self._phase_start = self._clock()
        if not self._screen.live:
            self._screen.say(f"{title}: {total_steps} steps" + (f", resumed after {done}" if done else ""))
        self._screen.start()

    def phase(self, name: str) -> None:
        """Name the current activity, such as "rollout", "train" or "evaluate"; it is shown on a terminal only."""
        self._phase, self._phase_start = name, self._clock()

    def step(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Show a step's metrics. Metrics named `eval/...` are shown as an evaluation; step 0 is before training."""
        values = {n: float(v) for n, v in metrics.items() if isinstance(v, int | float) and math.isfinite(v)}
        # The sources of an evaluation's tool results say nothing about the policy, so these metrics are not shown.
        values = {n: v for n, v in values.items() if not n.startswith(("eval/tool/", "eval/environment/"))}
        if "tokens/per_second" not in values and values.get("time/rollout", 0.0) > 0.0 and "tokens/sampled" in values:
            values["tokens/per_second"] = values["tokens/sampled"] / values["time/rollout"]
        now = self._clock()
        if step > self._done:
            self._durations.append(now - self._step_end)
            self._done = step
        self._step_end = now
        evaluation = {n.removeprefix("eval/"): v for n, v in values.items() if n.startswith("eval/")}
        for _, _, name, _ in (*LEARNING, *SPENDING):
            if name in values:
                self._history.setdefault(name, []).append(values[name])
        if evaluation:
            self._evaluations.append((step, evaluation))
        if not self._screen.live:
            for line in plain_lines(step, self._total, values):
                self._screen.say(line)
        self._screen.refresh()

    def message(self, text: str) -> None:
        """Print a lasting line above the panel."""
        self._screen.say(text)

    def stop(self) -> None:
        """End the display; the panel's last state stays on the screen. It may be called twice."""
        self._phase = ""
        self._screen.stop()

    def seconds_left(self) -> float | None:
        """The time left, by the mean of the last steps; None before the first one."""
        if not self._durations:
            return None
        mean = sum(self._durations) / len(self._durations)
        running = min(mean, self._clock() - self._step_end) if self._done < self._total else 0.0
        return max(0.0, mean * (self._total - self._done) - running)

    def render(self) -> RenderableType:
        """The current panel."""
        trends = self._screen.unicode and self._screen.console.width >= TRENDS_WIDTH
        parts: list[RenderableType] = [self._progress()]
        if self._history:
            sides = Table.grid(expand=True, padding=(0, 2))
            sides.add_column(ratio=1)
            sides.add_column(ratio=1)
            sides.add_row(self._metrics(LEARNING, trends), self._metrics(SPENDING, trends))
            parts += [Text(), sides]
        if self._evaluations:
            parts += [Text(), self._evaluated()]
        return framed(parts, Text(self._screen.printable(self._title), style="bold"))

    def _progress(self) -> RenderableType:
        left = self.seconds_left()
        timing = f"{clock_text(self._clock() - self._started)} gone"
        if left is not None and self._done < self._total:
            timing += f", {clock_text(left)} left"
        now: RenderableType = Text("")
        if self._phase:
            self._spinner.update(text=Text(f"{self._phase} {self._clock() - self._phase_start:.0f} s"))
            now = self._spinner
        return progress(Text(f"step {self._done}/{self._total}", style="bold"), self._done, self._total, timing, now)

    def _metrics(self, rows: tuple[tuple[str, str, str, Show], ...], trends: bool) -> RenderableType:
        table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim", expand=True)
        table.add_column("", no_wrap=True, ratio=1, overflow="ellipsis" if self._screen.unicode else "crop")
        table.add_column("now", justify="right", no_wrap=True, min_width=7)
        table.add_column("last 10", justify="right", no_wrap=True, style="cyan", min_width=7)
        if trends:
            table.add_column("all steps", no_wrap=True, style="green", width=16)
        for title, _, name, show in rows:
            history = self._history.get(name)
            if not history:
                continue
            recent = history[-10:]
            cells = [title, show(history[-1]), show(sum(recent) / len(recent))]
            table.add_row(*cells, *([trend(history, 16)] if trends else []))
        return table

    def _evaluated(self) -> RenderableType:
        # The first evaluation is the one to compare the others with.
        shown = self._evaluations[:1] + self._evaluations[1:][1 - EVALUATIONS :]
        names = list(dict.fromkeys(name for _, values in shown for name in values))[:6]
        table = Table(box=None, padding=(0, 2), pad_edge=False, header_style="dim")
        table.add_column("evaluated", no_wrap=True)
        for name in names:
            table.add_column(name, justify="right")
        for step, values in shown:
            label = "before training" if step == 0 else f"after step {step}"
            table.add_row(label, *(_number(values[name]) if name in values else "" for name in names))
        return table


def plain_lines(step: int, total: int, values: Mapping[str, float]) -> list[str]:
    """A line for a step and one for an evaluation, of at most `PLAIN_WIDTH` columns; further metrics are left out."""
    head = f"step {step:>{len(str(total))}}/{total}"
    learned = [
        f"{short} {show(values[name]).replace(' ', '')}"
        for _, short, name, show in (*LEARNING, *SPENDING)
        if short and name in values
    ]
    evaluated = [f"{n.removeprefix('eval/')} {_number(v)}" for n, v in values.items() if n.startswith("eval/")]
    lines = [_fitted([head, *learned])] if learned or not evaluated else []
    return [*lines, _fitted([f"{head}  evaluation", *evaluated])] if evaluated else lines


def _fitted(parts: list[str]) -> str:
    while len("  ".join(parts)) > PLAIN_WIDTH and len(parts) > 1:
        parts = parts[:-1]
    return "  ".join(parts)[:PLAIN_WIDTH]


def trend(values: list[float], width: int) -> str:
    """The values as at most `width` bars, from the smallest value to the largest; a bar is the mean of its part."""
    count = min(width, len(values))
    cuts = [len(values) * i // count for i in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(cuts)]
    low, high = min(means), max(means)
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        return _BARS[3] * count
    return "".join(_BARS[min(7, int(8 * (mean - low) / (high - low)))] for mean in means)


def clock_text(seconds: float) -> str:
    """Seconds as text, such as 0:42, 12:05 or 3:07:30."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
