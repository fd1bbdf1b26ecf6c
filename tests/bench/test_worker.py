"""A part that is killed, never ends or fills the memory ends nothing but itself."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from aepo.bench.parts import BenchPart
from aepo.bench.worker import Worker, failure
from tests.bench import toy

SMALL = BenchPart("sampling", 2, 8, 8)
# Its keys and values alone need 1 GiB.
LARGE = BenchPart("sampling", 512, 4000, 48)


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker(toy.subject())
    made.described(300)
    yield made
    made.close()


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process")
def test_a_part_that_fills_the_memory_says_so_and_the_next_one_is_measured(worker: Worker) -> None:
    pid = worker.pid
    held = next(
        int(line.split()[1]) * 1024
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmSize")
    )
    limit = held + (1 << 28)
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
    found = worker.measure(LARGE, 100, 300)
    assert (found.state, found.part) == ("out of memory", LARGE)
    assert "allocate memory" in found.note and "\n" not in found.note
    assert worker.measure(SMALL, 100, 300).state == "measured"


def test_a_process_that_the_system_killed_is_taken_for_out_of_memory(worker: Worker) -> None:
    os.kill(worker.pid, signal.SIGKILL)
    found = worker.measure(SMALL, 1, 300)
    assert (found.state, found.note) == (
        "out of memory",
        "the process was killed, as systems do when memory is full",
    )


def test_a_part_that_does_not_end_is_given_up(worker: Worker) -> None:
    found = worker.measure(replace(SMALL, tokens=1000), 1000, 0.0)
    assert (found.state, found.note) == ("left out", "given up after 0 s")


def test_a_model_that_cannot_be_loaded_is_refused_in_one_line() -> None:
    subject = toy.subject("model.lora.targets=[nothing]")
    refused = Worker(subject)
    try:
        with pytest.raises(ValueError, match="nothing"):
            refused.described(300)
    finally:
        refused.close()


def test_errors_inside_groups_are_told_by_what_they_are() -> None:
    full = ExceptionGroup("tasks", [torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB")])
    assert failure(SMALL, full).state == "out of memory"
    assert failure(SMALL, full).note == "CUDA out of memory. Tried to allocate 2.00 GiB"
    other = failure(SMALL, KeyError("a"))
    assert (other.state, other.note) == ("failed", "'a'")
