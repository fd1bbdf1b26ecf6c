"""Solving with the toy engine of the rollout's tests, on a loop that fails where it would wait for ever."""

from __future__ import annotations

from typing import Any

from aepo.algorithms import AEPO, Algorithm
from aepo.rollout.agent import Agent
from aepo.rollout.path import Limits
from aepo.solving.budget import SolvingBudget
from aepo.solving.loop import Means, Solving
from aepo.solving.solution import Solution
from aepo.tools.base import Tool
from aepo.types import Sample
from tests.rollout.toy import GENEROUS, VOCABULARY, ToyGenerator, ToyProtocol, alone, asking

QUESTION = Sample("which way", id="q0")


def means(
    generator: ToyGenerator,
    budget: SolvingBudget,
    algorithm: Algorithm | None = None,
    tool: Tool | None = None,
    limits: Limits = GENEROUS,
    **others: Any,
) -> Means:
    chosen = algorithm or AEPO(group_size=4, entropy_window=3)
    tools = {"ask": tool or asking()}
    agent = Agent(generator, ToyProtocol(), tools, limits, window=3)
    return Means(agent, chosen, chosen.exploration().initial_state(VOCABULARY), budget, **others)


def solve(given: Means) -> Solution:
    async def main() -> Solution:
        async with given.agent.generator:
            return await Solving(QUESTION, given).run()

    return alone(main)
