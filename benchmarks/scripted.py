"""A scripted policy in place of a model: it reads the question and the last result, and writes a call.

Chance is keyed as an engine's is, so that a branch and a rollout that is made again draw what they should.
"""

from __future__ import annotations

import functools
import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import AutoTokenizer

from aepo.core.entropy_branching import BalancedBranchSettings
from aepo.core.exploration import Exploration
from aepo.environments import Environment
from aepo.equipment.models import BUILT_IN_MODELS
from aepo.rollout.agent import Agent
from aepo.rollout.chat import make_protocol
from aepo.rollout.explorer import Seeds, explore
from aepo.rollout.generator import Generator, Sampled, Stop
from aepo.rollout.path import Limits
from aepo.tasks.base import Task
from aepo.types import Group

BRANCHY = BalancedBranchSettings(
    tau=0.2,
    pacing="none",
    entropy_window=4,
    entropy_scale="nats",
    min_global=0.0,
    dynamic_budget=False,
    initial_fraction=0.25,
)
"""A quarter of a group starts at the question; the others branch where the policy drew among many actions."""

Action = tuple[str, dict[str, Any]]
Policy = Callable[[str, str, random.Random], tuple[Action | None, int]]
"""Takes question, last result and chance; gives the next call, or None to end, and among how many it was drawn."""


@dataclass(eq=False)
class Written:
    """A sequence, and what is written of its turn but not yet sampled."""

    tokens: list[int]
    noise: int
    turn: list[int] = field(default_factory=list)
    nats: float = 0.0

    @property
    def length(self) -> int:
        """Number of its tokens."""
        return len(self.tokens)


class Scripted(Generator):
    """An engine whose model is a function of the text."""

    entropy_estimator = "full"
    max_sequences = 1000

    def __init__(self, tokenizer: Any, policy: Policy) -> None:
        """Set the policy, and the tokenizer of its texts."""
        self._tokenizer, self._policy = tokenizer, policy
        self.sampled = 0

    async def __aenter__(self) -> Scripted:
        return self

    async def __aexit__(self, *error: object) -> None:
        """Nothing is held."""

    def open(self, tokens: Sequence[int], noise: int) -> Written:
        return Written(list(tokens), noise)

    def extend(self, sequence: Any, tokens: Sequence[int]) -> None:
        sequence.tokens += tokens
        sequence.turn = []

    async def sample(self, sequence: Any, max_tokens: int, stop: Stop) -> Sampled:
        if not sequence.turn:
            self._write(sequence)
        new, sequence.turn = sequence.turn[:max_tokens], sequence.turn[max_tokens:]
        sequence.tokens += new
        self.sampled += len(new)
        return Sampled(new, [-sequence.nats] * len(new), [sequence.nats] * len(new), not sequence.turn)

    def fork(self, sequence: Any, length: int, noise: int) -> Written:
        return Written(sequence.tokens[:length], noise)

    def end(self, sequence: Any) -> None:
        pass

    def close(self, sequence: Any) -> None:
        pass

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def _write(self, sequence: Written) -> None:
        text = self._tokenizer.decode(sequence.tokens)
        asked, _, said = text.rpartition("<|user|>")[2].partition("<|assistant|>")
        results = said.split("<result>")
        seen = results[-1].partition("</result>")[0] if len(results) > 1 else asked
        draw = random.Random(f"{sequence.noise} {len(sequence.tokens)}")
        action, options = self._policy(asked, seen.strip(), draw)
        name, arguments = action or ("answer", {})
        # By the protocol of tags, a single argument is written as it is.
        inner = (
            "done"
            if action is None
            else json.dumps(arguments)
            if len(arguments) > 1
            else "".join(map(str, arguments.values()))
        )
        turn = f"<{name}>{inner}</{name}>"
        sequence.turn = self._tokenizer.encode(turn, add_special_tokens=False)
        sequence.nats = math.log(max(options, 1))


@functools.cache
def _tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(BUILT_IN_MODELS["atlas"])


async def grown(task: Task, policy: Policy, rules: Exploration, calls: int) -> tuple[list[Group], int]:
    """Grow the groups of all questions of a task.

    Args:
        task: With one environment.
        policy: Acts.
        rules: How paths branch.
        calls: The most calls of a trajectory.

    Returns:
        The groups, and how many tokens were sampled.
    """
    assert isinstance(task.environment, Environment)
    tokenizer = _tokenizer()
    generator = Scripted(tokenizer, policy)
    protocol = make_protocol("tags", tokenizer, task.tools, "")
    agent = Agent(
        generator,
        protocol,
        {tool.name: tool for tool in task.tools},
        Limits(100_000, calls, max_opening_tokens=10_000),
        rules.entropy_window,
        rules.entropy_scale,
        environment=task.environment,
    )
    groups = await explore(task.samples, agent, rules, rules.initial_state(len(tokenizer)), Seeds(0, 0))
    return groups, generator.sampled
