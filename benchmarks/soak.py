"""Twenty thousand mixed tool calls from one process: are all answers right, and do memory and descriptors stay flat?

Searches in an index and at a service that fails for one call in 25, programs that are fine, wrong, endless, loud,
greedy, crash or leave daemons behind, pages that are good, missing, forbidden or made to hurt a parser, tools of a user
that hang, answers from a cache file, and calls that are cancelled under way. Each call's end is checked. Ten times on
the way the process and all below it are measured; the first measurement comes after a twentieth of the calls, when
everything that is started once has been started.

    python benchmarks/soak.py                      # about ten minutes on two cores
    python benchmarks/soak.py --calls 500          # a try
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
from tool_site import Site

import aepo
from aepo.tasks.atlas import atlas_search
from aepo.tools.base import Tool, run_call
from aepo.tools.cache.layer import cached
from aepo.tools.cache.store import Store
from aepo.tools.counts import counting, taken
from aepo.tools.pages.browse import browse
from aepo.tools.python import python
from aepo.tools.search import Retrieval, search
from aepo.types import ToolCall, ToolError, ToolResult, ToolStatus

MEASUREMENTS = 10
CANCELLED = "a call that is cancelled"
NAP = "os.execv('/bin/sleep', ['aepo-soak-nap', '60'])"
Verdict = Callable[[ToolResult], bool]


def ended(status: ToolStatus, text: str = "") -> Verdict:
    """The call ended so, and the model reads `text`."""
    return lambda result: result.status is status and text in result.text


@dataclass(frozen=True)
class Kind:
    """One kind of call.

    Attributes:
        weight: How often, beside the others.
        tool: Which.
        arguments: Of a call, by its number.
        right: Whether it ended as it should.
    """

    weight: int
    tool: str
    arguments: Callable[[int], dict[str, object]]
    right: Verdict


OK, ERROR, TIMEOUT = ToolStatus.OK, ToolStatus.ERROR, ToolStatus.TIMEOUT


def kinds(url: str) -> dict[str, Kind]:
    """All of them; the weights add up to 100."""

    def query(number: int) -> dict[str, object]:
        return {"query": f"capital of France {number}"}

    def code(text: str) -> Callable[[int], dict[str, object]]:
        return lambda _: {"code": text}

    def page(path: str) -> Callable[[int], dict[str, object]]:
        return lambda _: {"url": url + path}

    either: Verdict = lambda result: result.status in (OK, ERROR)  # noqa: E731
    return {
        "search an index": Kind(26, "search", query, ended(OK, "Paris")),
        "search a service": Kind(18, "service", query, either),
        "search, answers kept": Kind(
            10, "kept", lambda n: {"query": f"capital of Spain {n % 50}"}, ended(OK, "Madrid")
        ),
        "a program": Kind(14, "python", lambda n: {"code": f"print({n} * 2)"}, ended(OK)),
        "a wrong program": Kind(3, "python", code("1 / 0"), ended(OK, "ZeroDivisionError")),
        "an endless program": Kind(1, "hasty", code("while True: pass"), ended(TIMEOUT)),
        "a loud program": Kind(1, "python", code("while True: print('x' * 9999)"), ended(OK, "printed too much")),
        "a greedy program": Kind(1, "python", code("b = bytearray(4 << 30)"), ended(OK, "memory")),
        "a program that crashes": Kind(1, "python", code("import ctypes\nctypes.string_at(0)"), ended(OK, "crashed")),
        "a program with a daemon": Kind(
            1,
            "python",
            code(f"import os\nif os.fork() == 0:\n    os.setsid()\n    {NAP}\nprint('left')"),
            ended(OK, "left"),
        ),
        "a page": Kind(3, "browse", page("/page"), ended(OK, "Paris")),
        "a long page": Kind(1, "browse", page("/long"), ended(OK, "goes on")),
        "a page that is not there": Kind(2, "browse", page("/none"), ended(ERROR)),
        "an image": Kind(1, "browse", page("/image"), ended(ERROR)),
        "a page that unpacks to 200 MB": Kind(1, "browse", page("/bomb"), ended(ERROR)),
        "a page of 30,000 elements in each other": Kind(1, "browse", page("/nested"), either),
        "a forbidden address": Kind(3, "browse", lambda _: {"url": "http://169.254.169.254/"}, ended(ERROR)),
        "a page that leads to a forbidden address": Kind(2, "browse", page("/inside"), ended(ERROR)),
        "a tool that refuses": Kind(3, "refuse", lambda n: {"word": str(n)}, ended(ERROR, "no such word")),
        "a tool that hangs": Kind(1, "hang", lambda _: {}, ended(TIMEOUT)),
        "arguments that do not fit": Kind(2, "search", lambda _: {"words": 1}, ended(ToolStatus.BAD_ARGUMENTS)),
        CANCELLED: Kind(4, "python", code("while True: pass"), lambda _: False),
    }


@aepo.tool
async def refuse(word: str) -> str:
    """Look a word up.

    Args:
        word: The word.
    """
    raise ToolError("no such word")


@aepo.tool(timeout=0.2)
async def hang() -> str:
    """Never answer."""
    await anyio.sleep_forever()
    return ""


@contextmanager
def tools(site: Site) -> Iterator[dict[str, Tool]]:
    """All tools, by the name that a kind gives them."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "tools.sqlite")
        store.open()
        made = {
            "search": atlas_search(),
            "service": search(Retrieval(f"{site.url}/retrieve")),
            "kept": cached(atlas_search(), store, "cached"),
            "python": python(timeout=30.0),
            "hasty": python(timeout=0.3),
            "browse": browse(allow=[f"127.0.0.1:{site.port}"]),
            "refuse": refuse,
            "hang": hang,
        }
        try:
            yield {name: replace(tool, name=name) for name, tool in made.items()}
        finally:
            store.close()


@dataclass(frozen=True)
class Held:
    """What this process and all below it hold.

    Attributes:
        resident: MB.
        descriptors: Open ones.
        processes: How many.
        scratch: Entries in the folder for temporary files.
        naps: Programs of the soak that outlived their call.
    """

    resident: float
    descriptors: int
    processes: int
    scratch: int
    naps: int


def held(site: int) -> Held:
    """Measured now, between calls.

    Args:
        site: The process number of the site, which is not counted.
    """
    found, i = [os.getpid()], 0
    while i < len(found):
        for thread in os.listdir(f"/proc/{found[i]}/task"):
            below = Path(f"/proc/{found[i]}/task/{thread}/children").read_text().split()
            found += [int(p) for p in below if int(p) != site]
        i += 1
    pages = sum(int(Path(f"/proc/{p}/statm").read_text().split()[1]) for p in found)
    naps = sum(b"aepo-soak-nap" in Path(f"/proc/{p}/cmdline").read_bytes() for p in _processes())
    descriptors = sum(len(os.listdir(f"/proc/{p}/fd")) for p in found)
    scratch = len(os.listdir(tempfile.gettempdir()))
    return Held(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, descriptors, len(found), scratch, naps)


def _processes() -> Iterator[int]:
    for entry in os.listdir("/proc"):
        if entry.isdigit() and Path(f"/proc/{entry}/cmdline").exists():
            yield int(entry)


async def soak(calls: int, at_once: int, seed: int) -> list[str]:
    """Make the calls; the names of kinds that ended wrongly."""
    site = Site(faults=0.04)
    wrong: list[str] = []
    made: Counter[str] = Counter()
    try:
        with tools(site) as by_name, counting() as counts:
            known = kinds(site.url)
            assert sum(kind.weight for kind in known.values()) == 100
            names = list(known)
            draw = random.Random(seed).choices(names, [known[name].weight for name in names], k=calls)
            places = anyio.CapacityLimiter(at_once)

            async def one(number: int) -> None:
                name = draw[number]
                kind = known[name]
                async with places:
                    result = None
                    with anyio.move_on_after(0.5 if name == CANCELLED else None) as scope:
                        result = await run_call(by_name, ToolCall(kind.tool, kind.arguments(number)))
                made[name] += 1
                if not (scope.cancelled_caught if name == CANCELLED else result and kind.right(result)):
                    wrong.append(f"{name}: {result}")

            began = time.perf_counter()
            print("    calls    min   MB resident  descriptors  processes  scratch  daemons  wrong")
            cuts = [calls // 20] + [calls * (i + 1) // MEASUREMENTS for i in range(MEASUREMENTS)]
            start = 0
            for cut in cuts:
                async with anyio.create_task_group() as tasks:
                    for number in range(start, cut):
                        tasks.start_soon(one, number)
                start = cut
                now = held(site.process.pid)
                minutes = (time.perf_counter() - began) / 60
                sizes = f"{now.resident:13.0f} {now.descriptors:12} {now.processes:10} {now.scratch:8} {now.naps:8}"
                print(f"{cut:>9,} {minutes:6.1f} {sizes} {len(wrong):6}", flush=True)
            for name in names:
                print(f"  {made[name]:>6,}  {name}")
            print({name: round(value, 1) for name, value in taken(counts).items()})
    finally:
        site.stop()
    return wrong


def main() -> None:
    """Run it; exit status 1 if an answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    wrong = anyio.run(soak, options.calls, options.at_once, options.seed)
    for line in wrong[:20]:
        print(line[:300])
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
