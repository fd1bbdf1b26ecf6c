"""What a sandbox costs beside plain `python -I -c`, on the same program, in turns, so that all meet the same machine.

For each backend that passes its probe here: latency of single calls, and calls a second with 1, 2 and 16 in flight,
both also as ratios to plain Python. Sandboxes start without `site`, which is a good part of plain Python's start: the
line `python -I -S -c` says what is left then. Where a backend costs more than three times plain Python, or with
--parts, the time of its parts is printed.

    python benchmarks/sandbox.py --rounds 40 --seconds 3
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import anyio

from aepo.tools.sandbox.base import Sandbox, SandboxStatus, SandboxUnavailable
from aepo.tools.sandbox.bootstrap import command
from aepo.tools.sandbox.bubblewrap import BubblewrapSandbox
from aepo.tools.sandbox.choose import choose
from aepo.tools.sandbox.packages import interpreter
from aepo.tools.sandbox.sandlock import SandlockSandbox

PROGRAM = "print(sum(i * i for i in range(1000)))"
ANSWER = "332833500\n"
PLAIN = "python -I -c"
Call = Callable[[], Awaitable[None]]


async def plain(*flags: str) -> None:
    """The measure of all: a fresh interpreter, without any protection."""
    ran = await anyio.run_process([str(interpreter()), *flags, "-c", PROGRAM])
    assert ran.stdout.decode() == ANSWER


async def sandboxed(sandbox: Sandbox) -> None:
    """The same program in a sandbox."""
    result = await sandbox.run(PROGRAM, 30)
    assert result.status is SandboxStatus.OK and result.stdout == ANSWER, result


async def latencies(calls: dict[str, Call], rounds: int) -> dict[str, list[float]]:
    """Seconds of single calls, in turns; the first of each is not counted."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            started = time.perf_counter()
            await call()
            if number:
                found[name].append(time.perf_counter() - started)
    return found


async def throughput(call: Call, in_flight: int, seconds: float) -> float:
    """Calls a second with that many in flight."""
    done, started = 0, time.perf_counter()
    deadline = started + seconds

    async def one_after_the_other() -> None:
        nonlocal done
        while time.perf_counter() < deadline:
            await call()
            done += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(in_flight):
            tasks.start_soon(one_after_the_other)
    return done / (time.perf_counter() - started)


def backends() -> dict[str, Sandbox]:
    """Those that this machine offers."""
    found: dict[str, Sandbox] = {}
    for name in ("sandlock", "bubblewrap", "unsafe_no_sandbox"):
        try:
            found[name] = choose(name)
        except SandboxUnavailable as error:
            print(f"{name}: not here ({error})")
    return found


def parts(sandbox: Sandbox, rounds: int) -> dict[str, float]:
    """Median milliseconds of what a call consists of, each started by itself."""
    inner = command(sandbox.limits)  # type: ignore[attr-defined]
    given: dict[str, Callable[[], object]] = {
        "a process (true)": partial(subprocess.run, ["/bin/true"], check=True),
        "+ the interpreter and the first lines inside": partial(
            subprocess.run, inner, input=PROGRAM.encode(), check=True, capture_output=True, env={}
        ),
    }
    if isinstance(sandbox, BubblewrapSandbox):
        given["bwrap and its namespaces (true)"] = partial(
            subprocess.run, [*sandbox._arguments, "--", "/bin/true"], check=True, env={}
        )
    elif sandbox.name == "sandlock":
        given["sandlock and its scratch folder (true)"] = partial(confined, SandlockSandbox(sandbox.limits))  # type: ignore[attr-defined]
    given["the whole call"] = partial(anyio.run, sandboxed, sandbox)
    found: dict[str, list[float]] = {name: [] for name in given}
    for number in range(rounds + 1):
        for name, start in given.items():
            started = time.perf_counter()
            start()
            if number:
                found[name].append(time.perf_counter() - started)
    return {name: 1e3 * statistics.median(times) for name, times in found.items()}


def confined(sandbox: SandlockSandbox) -> None:
    """Start and end `true` under sandlock, from this process."""
    with tempfile.TemporaryDirectory() as folder, sandbox._policy(Path(folder)).popen(["/bin/true"]) as process:
        process.wait()


async def main(rounds: int, seconds: float, always: bool) -> None:
    """Measure and print."""
    boxes = backends()
    calls: dict[str, Call] = {PLAIN: partial(plain, "-I"), "python -I -S -c": partial(plain, "-I", "-S")}
    calls |= {name: partial(sandboxed, box) for name, box in boxes.items()}
    print(f"{platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}, niceness {os.nice(0)}")
    found = await latencies(calls, rounds)
    base = statistics.median(found[PLAIN])
    print(f"\n{'one call':<20}{'p50 ms':>9}{'p99 ms':>9}{'x plain':>9}")
    ratios = {}
    for name, times in found.items():
        middle, high = statistics.median(times), sorted(times)[int(0.99 * (len(times) - 1))]
        ratios[name] = middle / base
        print(f"{name:<20}{1e3 * middle:>9.1f}{1e3 * high:>9.1f}{ratios[name]:>9.2f}")
    print(f"\n{'calls a second':<20}" + "".join(f"{f'{n} at once':>14}{'x plain':>9}" for n in (1, 2, 16)))
    rates: dict[str, list[float]] = {name: [] for name in calls}
    for in_flight in (1, 2, 16):
        # Twice, in opposite orders: what the machine does beside meets all.
        order = [*calls, *reversed(calls)]
        measured: dict[str, float] = dict.fromkeys(calls, 0.0)
        for name in order:
            measured[name] += await throughput(calls[name], in_flight, seconds / 2) / 2
        for name in calls:
            rates[name].append(measured[name])
    for name, per_second in rates.items():
        pairs = zip(per_second, rates[PLAIN], strict=True)
        print(f"{name:<20}" + "".join(f"{rate:>14.1f}{rate / of:>9.2f}" for rate, of in pairs))
    for name, box in boxes.items():
        if ratios[name] > 3 or always:
            print(f"\n{name} takes {ratios[name]:.1f} times plain Python; median ms of its parts:")
            for part, milliseconds in (await anyio.to_thread.run_sync(parts, box, 10)).items():
                print(f"  {part:<46}{milliseconds:>8.1f}")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=40, help="single calls of each")
    arguments.add_argument("--seconds", type=float, default=3.0, help="for each throughput")
    arguments.add_argument("--parts", action="store_true", help="print the time of the parts in any case")
    given = arguments.parse_args()
    anyio.run(main, given.rounds, given.seconds, given.parts)
