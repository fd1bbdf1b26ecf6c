"""Measures part after part within a time; one that fails stops no other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from aepo.bench.parts import PROCESSES, SHARES, BenchPart, Described, Measured, PartKind, estimated, planned
from aepo.bench.worker import Worker
from aepo.doctor.finding import size

if TYPE_CHECKING:
    from aepo.bench.subject import Subject

LATE = "no time was left (give more --minutes)"
PATIENCE, GRACE = 2.0, 10.0
"""A part is given up after so many times the seconds that it should take, plus these, or when all time is over."""


class Bench:
    """Runs a measurement.

    Args:
        subject: The model that is measured.
        rows: The numbers of rows to sample with.
        prompt: The number of tokens of a prompt.
        tokens: The number of tokens that each row samples.
        end: The time of `time.monotonic` at which the whole measurement must have ended.
        tell: Called with a line whenever a part begins.

    Attributes:
        about: The model and the machine, once the model is loaded.
        end: The time of `time.monotonic` at which the whole measurement must have ended.
    """

    about: Described

    def __init__(
        self,
        subject: Subject,
        rows: Sequence[int],
        prompt: int,
        tokens: int,
        end: float,
        tell: Callable[[str], None],
    ) -> None:
        self._subject, self._rows, self._prompt, self._tokens = subject, rows, prompt, tokens
        self.end, self._tell = end, tell
        self._worker: Worker | None = None
        self._process = ""

    def measure(self) -> Iterator[Measured]:
        """Measure the parts and yield each result at once.

        Raises:
            ValueError: The model cannot be measured.
            RuntimeError: The model could not be loaded in time.
        """
        done: list[Measured] = []
        try:
            self._tell(f"{self._subject.name}: loading")
            about = self.about = self._load()
            parts = planned(self._rows, self._prompt, self._tokens, about.shape.positions)
            for number, part in enumerate(parts):
                share = SHARES[part.kind] / sum(SHARES[left.kind] for left in parts[number:])
                self._tell(f"{part.name} ({number + 1} of {len(parts)}, {self._left():.0f} s left)")
                found = self._one(following(part, done), about, share, done)
                done.append(replace(found, estimate=estimated(found.part, about, self._subject.config)))
                yield done[-1]
        finally:
            self._close()

    def _one(self, part: BenchPart, about: Described, share: float, done: Sequence[Measured]) -> Measured:
        if self._left() <= 0:
            return Measured(part, "left out", note=LATE)
        # There is no count for `generate`, but it does not need less.
        counted = replace(part, kind="sampling") if part.kind == "generate" else part
        needs = estimated(counted, about, self._subject.config)
        # A full GPU only raises an error, but a machine with full memory may stop.
        if about.on_cpu and needs is not None and needs > about.free:
            return Measured(part, "left out", note=f"it needs about {size(needs)}, and {size(about.free)} are free")
        if (expected := least_seconds(part, done)) > PATIENCE * share * self._left():
            return Measured(part, "left out", note=f"it would take some {expected:.0f} s, which are not left")
        try:
            worker = self._ready(PROCESSES.get(part.kind, part.kind) if about.on_cpu else "all")
        except RuntimeError as error:
            return Measured(part, "left out", note=str(error))
        seconds = share * self._left()
        found = worker.measure(part, seconds, min(self._left(), PATIENCE * seconds + GRACE))
        if found.state != "measured":
            # The memory that it holds is unknown.
            self._close()
        return found

    def _ready(self, process: str) -> Worker:
        """A worker for the parts of one process; the worker of another process is closed.

        Raises:
            RuntimeError: The time is up.
        """
        if self._process not in ("", process):
            self._close()
        if self._worker is None and self._left() > 0:
            self._load()
        self._process = process
        if self._worker is None or self._left() <= 0:
            raise RuntimeError(LATE)
        return self._worker

    def _load(self) -> Described:
        self._worker = Worker(self._subject)
        about = self._worker.described(self._left())
        # All processes should use the same number of threads.
        train = self._subject.config.train.model_copy(update={"threads": about.threads})
        self._subject = replace(self._subject, config=self._subject.config.model_copy(update={"train": train}))
        return about

    def _left(self) -> float:
        return max(0.0, self.end - time.monotonic())

    def _close(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker, self._process = None, ""


def following(part: BenchPart, done: Sequence[Measured]) -> BenchPart:
    """The part with as many tokens as the part that it is compared with had time for."""
    before = {found.part.name: found.part.tokens for found in done if found.state == "measured"}
    leaders: dict[PartKind, PartKind] = {"generate": "sampling", "agreement": "sampling", "tree": "flat"}
    leader = replace(part, kind=leaders.get(part.kind, part.kind))
    return part.with_tokens(before.get(leader.name, part.tokens))


def least_seconds(part: BenchPart, done: Sequence[Measured]) -> float:
    """The seconds of a part's first try, on the line through those of fewer rows; 0 if fewer than two are known."""
    known = [
        (found.part.rows, found.figures["least_seconds"])
        for found in done
        if found.part.kind == part.kind and "least_seconds" in found.figures
    ]
    if len(known) < 2:
        return 0.0
    (few, fast), (many, slow) = known[-2:]
    return slow + max(0.0, slow - fast) / (many - few) * (part.rows - many)


@contextmanager
def telling() -> Iterator[Callable[[str], None]]:
    """A function that reports progress on standard error: on a terminal in one line, else one line per report."""
    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        with console.status("") as status:
            yield lambda text: status.update(Text(text))
    else:
        yield lambda text: console.print(Text(text), soft_wrap=True)
