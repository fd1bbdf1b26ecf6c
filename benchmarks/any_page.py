"""Addresses, redirects, answers and page bodies as nobody should write them: how each was met, and that nothing broke.

Addresses and Location headers go the whole way of `browse`, without a network; bodies go through the parsers, in this
process. An outcome is a document or a line of words for the model. Anything else ends the script with a traceback.

    python benchmarks/any_page.py --examples 20000
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))

from aepo.tools.pages.inside import html_text
from tests.tools.pages.fuzz import PAGE, addresses, bodies, locations, outcome, redirect_to

REASONS = (
    *("not an address", "it has no proper host name", "only addresses that begin with", "user names in addresses"),
    *("is not one of the web", "longer than", "no such host", "redirects", "HTTP", "type", "read"),
)


def short(words: str) -> str:
    """The reason alone, without the address."""
    return next((reason for reason in REASONS if reason in words), words)


def counted(
    examples: int, strategy: st.SearchStrategy[Any], try_one: Callable[[Any], str]
) -> tuple[Counter[str], float]:
    """How often each outcome came, and seconds."""
    found: Counter[str] = Counter()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(drawn: Any) -> None:
        found[try_one(drawn)] += 1

    started = time.perf_counter()
    run()
    return found, time.perf_counter() - started


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=20_000)
    examples = parser.parse_args().examples
    ways: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], str]]] = {
        "address": (addresses, lambda text: short(anyio.run(outcome, text, PAGE))),
        "Location": (locations, lambda text: short(anyio.run(outcome, "https://a.test/b", redirect_to(text), PAGE))),
        "body": (bodies, lambda body: "text" if html_text(*body, "http://a.test/")[0] else "no text"),
    }
    print("| what | outcome | of all |\n|---|---|---|")
    for name, (strategy, try_one) in ways.items():
        found, seconds = counted(examples, strategy, try_one)
        for words, count in found.most_common():
            print(f"| {name} | {words} | {count} |")
        print(f"| {name} | all, in {seconds:.0f} s | {found.total()} |", flush=True)


if __name__ == "__main__":
    main()
