"""What the explorer itself costs: a generator that answers at once, tools that take 50 ms, five turns a trajectory.

Everything else is real: AEPO's or GRPO's rules, the tag protocol with the built-in model's tokenizer, `@tool`. CPU time
is the process's, without what the generator used, which is measured inside of it. Memory is what Python holds for the
groups, counted in a run of its own, since counting slows everything down.

    python benchmarks/explorer_cost.py --trajectories 10000 --in-flight 2000
"""

from __future__ import annotations

import argparse
import gc
import platform
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

import anyio
from transformers import AutoTokenizer

import aepo
from aepo.algorithms import AEPO, GRPO
from aepo.core.noise import uniform
from aepo.equipment.models import BUILT_IN_MODELS
from aepo.rollout import generator as engine
from aepo.rollout.agent import Agent
from aepo.rollout.chat import make_protocol
from aepo.rollout.explorer import Seeds, explore
from aepo.rollout.generator import Sampled, Stop
from aepo.rollout.path import Limits
from aepo.types import Group, Sample

CALL = (
    "<think>I do not know yet what the map says about it, so that I have to look once more.</think><search>{}</search>"
)
ANSWER = "<think>Now all that I have to know is there, and the last result says it.</think><answer>north</answer>"


@aepo.tool(concurrency=1_000_000)
async def search(query: str) -> str:
    """Look a place up.

    Args:
        query: The place.
    """
    await anyio.sleep(0.05)
    return f"{query} lies two roads north of the river, and its market is older than the bridge."


@dataclass(eq=False)
class Scripted:
    """A sequence: how long it is, its turn, and how much of the turn was sampled."""

    noise: int
    length: int
    starts: list[int]

    @property
    def turn(self) -> int:
        """Observations so far."""
        return len(self.starts) - 1


@dataclass
class AtOnce:
    """A generator whose turns are written beforehand.

    Attributes:
        turns: Tokens of each turn.
        max_sequences: Sequences that may grow at once.
        entropy_estimator, deterministic: As `Generator`.
        growing: Sequences that were not ended.
        peak: The most that were.
        seconds: CPU time of its own.
    """

    turns: list[list[int]]
    max_sequences: int
    entropy_estimator: str = "full"
    deterministic: bool = False
    growing: int = 0
    peak: int = 0
    seconds: float = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert not self.growing

    def open(self, tokens: Sequence[int], noise: int) -> Scripted:
        """Begin a sequence."""
        return self._hold(Scripted(noise, len(tokens), [len(tokens)]))

    def extend(self, sequence: engine.Sequence, tokens: Sequence[int]) -> None:
        """A tool's result."""
        own = cast(Scripted, sequence)
        own.length += len(tokens)
        own.starts.append(own.length)

    async def sample(self, sequence: engine.Sequence, max_tokens: int, stop: Stop) -> Sampled:
        """The next tokens of the script; their entropy is a matter of path and turn."""
        began = time.thread_time()
        own = cast(Scripted, sequence)
        script, at = self.turns[own.turn], own.length - own.starts[-1]
        tokens = script[at : at + max_tokens]
        own.length += len(tokens)
        about = 2.0 * uniform(own.noise, own.turn)
        # Numbers of their own, as an engine gives them: shared ones would take no memory.
        entropies = [about + 1e-6 * number for number in range(len(tokens))]
        given = Sampled(tokens, [-h for h in entropies], entropies, at + len(tokens) == len(script))
        self.seconds += time.thread_time() - began
        return given

    def fork(self, sequence: engine.Sequence, length: int, noise: int) -> Scripted:
        """A sequence that begins like another."""
        own = cast(Scripted, sequence)
        return self._hold(Scripted(noise, length, [start for start in own.starts if start <= length]))

    def end(self, sequence: engine.Sequence) -> None:
        """One less."""
        self.growing -= 1

    def close(self, sequence: engine.Sequence) -> None:
        """Nothing is held back."""

    def pause(self) -> None:
        """Nobody trains here."""

    def resume(self) -> None:
        """Nobody trains here."""

    def _hold(self, sequence: Scripted) -> Scripted:
        self.growing += 1
        self.peak = max(self.peak, self.growing)
        return sequence


def explored(tokenizer: Any, algorithm: AEPO | GRPO, trajectories: int, in_flight: int) -> tuple[list[Group], AtOnce]:
    """One rollout."""
    protocol = make_protocol("tags", tokenizer, [search])
    texts = [*map(CALL.format, ("Arl", "Bree", "Corm", "Dale")), ANSWER]
    generator = AtOnce([tokenizer.encode(text, add_special_tokens=False) for text in texts], in_flight)
    rules = algorithm.exploration()
    limits = Limits(10_000, len(texts))
    agent = Agent(generator, protocol, {"search": search}, limits, rules.entropy_window, rules.entropy_scale)
    asked = [Sample(f"Where is {n}?", id=f"q{n}") for n in range(trajectories // algorithm.group_size)]
    groups = anyio.run(explore, asked, agent, rules, rules.initial_state(len(tokenizer)), Seeds(0, 0))
    return groups, generator


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trajectories", type=int, default=10_000)
    parser.add_argument("--in-flight", type=int, default=2_000)
    parser.add_argument("--group-size", type=int, default=10)
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(BUILT_IN_MODELS["atlas"])
    size, most = options.group_size, options.trajectories
    print(f"five turns, tools of 50 ms, groups of {size}, Python {platform.python_version()}")
    print(
        f"{'':6}{'trajectories':>13}{'CPU ms each':>13}{'generator':>11}{'wall s':>8}{'in flight':>11}"
        f"{'distinct tokens':>17}{'MiB':>8}{'bytes a token':>15}"
    )
    for algorithm in (AEPO(group_size=size), GRPO(group_size=size)):
        explored(tokenizer, algorithm, size, options.in_flight)
        for count in (most // 4, most // 2, most):
            gc.collect()
            cpu, wall = time.process_time(), time.perf_counter()
            groups, generator = explored(tokenizer, algorithm, count, options.in_flight)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            count = sum(len(group.tree.leaves) for group in groups)
            distinct = sum(group.tree.distinct_tokens() for group in groups)
            del groups
            held = memory(tokenizer, algorithm, count, options.in_flight)
            print(
                f"{algorithm.name:6}{count:13d}{1e3 * (cpu - generator.seconds) / count:13.2f}"
                f"{1e3 * generator.seconds / count:11.2f}{wall:8.1f}{generator.peak:11d}"
                f"{distinct:17d}{held / 2**20:8.1f}{held / distinct:15.1f}"
            )
    print("target: CPU below 2 ms each, bytes a token constant")


def memory(tokenizer: Any, algorithm: AEPO | GRPO, trajectories: int, in_flight: int) -> int:
    """Bytes that the groups of a rollout hold."""
    gc.collect()
    tracemalloc.start()
    groups, _ = explored(tokenizer, algorithm, trajectories, in_flight)
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    del groups
    gc.collect()
    left, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held - left


if __name__ == "__main__":
    main()
