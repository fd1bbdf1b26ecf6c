"""How full the engine is: calls of the model, and rows a call, in the rollouts of GRPO and AEPO at equal k and room.

Calls and rows are counted, not timed, so the figures do not depend on the machine. A tool's answer is taken from an
uncounted rollout before, and comes `--wait` calls of the model after it was asked for, or at once if nothing else is
sampled. The target: AEPO's calls are at most 1.2 times GRPO's.

    python benchmarks/occupancy.py quickstart --rooms 64 256
    python benchmarks/occupancy.py quickstart algorithm.tau=0.5 --overlap 8
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import yaml
from step_time import Side, both, make_side
from torch import Tensor

from aepo.algorithms import Algorithm
from aepo.config import merged, parse, read
from aepo.engines.local import LocalGenerator
from aepo.engines.local.sequence import LocalSequence
from aepo.engines.local.table import RowTable
from aepo.rollout.explorer import Seeds, explore
from aepo.tools.base import Execute, Tool
from aepo.training.overlap import overlapping
from aepo.types import Group, Kind, ToolResult

# The first steps that overlap are not like the others.
BEFORE, COUNTED = 2, 3


@dataclass
class Calls:
    """The calls of one engine's model.

    Attributes:
        decodes: Decode calls.
        prefills: Prefill calls.
        rows: Rows sampled in decode calls.
        computed: Tokens that were read, sampled ones included.
        read: Tokens that prefill calls read.
        again: Those of them that stood in the cache before, after the same tokens.
    """

    decodes: int = 0
    prefills: int = 0
    rows: int = 0
    read: int = 0
    again: int = 0
    _known: set[int] = field(default_factory=set)
    _digests: dict[LocalSequence, list[int]] = field(default_factory=dict)

    def reset(self) -> None:
        """Begin to count."""
        self.decodes = self.prefills = self.rows = self.read = self.again = 0
        self._known.clear()
        self._digests.clear()

    def watch(self, table: RowTable) -> None:
        """Count the calls of a table."""
        decode, prefill = table.decode, table.prefill

        def counted_decode(rows: list[LocalSequence], moves: Any) -> tuple[list[LocalSequence], Tensor]:
            self.decodes += 1
            self.rows += len(rows)
            given = decode(rows, moves)
            self._known.update(self._digest(row)[-1] for row in rows)
            return given

        def counted_prefill(rows: list[LocalSequence]) -> tuple[list[LocalSequence], Tensor]:
            self.prefills += 1
            before = [row.cached for row in rows]
            given = prefill(rows)
            for row, start in zip(rows, before, strict=True):
                new = self._digest(row)[start:]
                self.read += len(new)
                self.again += len(self._known.intersection(new))
                self._known.update(new)
            return given

        table.decode, table.prefill = counted_decode, counted_prefill  # type: ignore[method-assign]

    def _digest(self, row: LocalSequence) -> list[int]:
        """A number for each prefix that the cache has of a sequence; equal prefixes have the same."""
        digests = self._digests.setdefault(row, [])
        for token in row.tokens[len(digests) : row.cached]:
            digests.append(hash((digests[-1] if digests else 0, token)))
        return digests

    @property
    def all(self) -> int:
        """Calls of both kinds."""
        return self.decodes + self.prefills


@dataclass
class Remembered:
    """Answers of tools, each `wait` calls of the model after it was asked for."""

    wait: int
    engine: LocalGenerator
    calls: Calls
    answers: dict[tuple[str, str], ToolResult] = field(default_factory=dict)

    def tool(self, tool: Tool) -> Tool:
        """The tool, which is run once for each of its arguments."""

        async def around(execute: Execute, values: dict[str, Any]) -> ToolResult:
            asked = tool.name, repr(sorted(values.items()))
            if asked not in self.answers:
                self.answers[asked] = await execute(values)
            due, idle = self.calls.all + self.wait, 0
            while self.calls.all < due and idle < 20:
                await anyio.lowlevel.checkpoint()
                idle = 0 if self.engine._requests else idle + 1
            return self.answers[asked]

        return replace(tool, around=(*tool.around, around))


def steps(side: Side, count: int, overlap: int, calls: Calls) -> list[Group]:
    """Count the calls of one step, or of the third to fifth of five that overlap; gives the groups of those."""
    agent, questions = side.parts.agent, side.parts.questions
    if not overlap:
        calls.reset()
        return anyio.run(explore, questions[:count], agent, side.algorithm.exploration(), side.state, Seeds(0, 0))
    groups: list[Group] = []
    with overlapping(agent, side.parts.scorer, side.algorithm, 0, overlap) as rollout:
        for number in range(BEFORE + COUNTED):
            if number == BEFORE:
                calls.reset()
            found = rollout.step(questions[number * count : (number + 1) * count], side.state, number)
            groups += found.sampled if number >= BEFORE else []
    return groups


def measured(base: Mapping[str, Any], algorithm: Algorithm, count: int, overlap: int, wait: int) -> tuple[Calls, int]:
    """The calls of an algorithm's rollout, and the tokens that it sampled."""
    side = make_side(base, algorithm)
    agent = side.parts.agent
    engine, calls = agent.generator, Calls()
    assert isinstance(engine, LocalGenerator)
    remembered = Remembered(wait, engine, calls)
    agent.tools = {name: remembered.tool(tool) for name, tool in agent.tools.items()}
    calls.watch(engine._table)
    for _ in range(2):
        groups = steps(side, count, overlap, calls)
    return calls, sum(len(node.tokens) for g in groups for node in g.tree.nodes if node.kind is Kind.POLICY)


def main() -> None:
    """Count and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default="quickstart")
    parser.add_argument("overrides", nargs="*", help="settings such as algorithm.tau=0.5")
    parser.add_argument("--rooms", type=int, nargs="+", default=[64, 256], help="rollout.max_sequences")
    parser.add_argument("--overlap", type=int, default=0, help="rollout.overlap; figures are then means of three steps")
    parser.add_argument("--wait", type=int, default=0, help="calls of the model that a tool takes")
    options = parser.parse_args()
    own = {key: yaml.safe_load(value) for key, value in (override.split("=", 1) for override in options.overrides)}
    given = merged(read(options.config), {"train.threads": 1, **own})
    count, size = parse(given).rollout.questions, parse(given).algorithm.group_size
    what = " ".join([options.config, *options.overrides])
    print(
        f"{what}: {count} questions x {size}, overlap {options.overlap}, tools take {options.wait} calls of the model"
    )
    print(
        f"{'room':>5}{'':>6}{'calls':>8}{'decode':>8}{'prefill':>9}{'rows a decode':>15}{'of the room':>13}"
        f"{'sampled':>9}{'prefilled':>11}{'read again':>12}"
    )
    share = COUNTED if options.overlap else 1
    for room in options.rooms:
        base, found = merged(given, {"rollout.max_sequences": room}), {}
        for algorithm in both(base):
            calls, sampled = measured(base, algorithm, count, options.overlap, options.wait)
            found[algorithm.name] = calls.all
            rows = calls.rows / calls.decodes
            print(
                f"{room:5}{algorithm.name:>6}{calls.all / share:8.0f}{calls.decodes / share:8.0f}"
                f"{calls.prefills / share:9.0f}{rows:15.1f}{rows / room:13.0%}{sampled / share:9.0f}"
                f"{calls.read / share:11.0f}{calls.again / share:12.0f}",
                flush=True,
            )
        print(f"{room:5} aepo / grpo: {found['aepo'] / found['grpo']:.2f} (target: at most 1.2)")


if __name__ == "__main__":
    main()
