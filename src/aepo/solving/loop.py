"""Spends a budget on one question, round after round.

A round is a group with its own tree. The rules are those of training: they decide how many trajectories start from the
question and where others branch. The first round compares entropies in nats, later rounds by the scales of this
question (`ExplorationState`). If calls, tokens or money are limited, a later round is only as large as the rest of the
budget can pay for, at the average cost so far.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import anyio

from aepo.algorithms.base import Algorithm
from aepo.core.exploration import Exploration, ExplorationState
from aepo.rewards.base import Reward
from aepo.rewards.judge import Ask
from aepo.rewards.score import AT_ONCE, RewardScorer, score
from aepo.rollout.agent import Agent
from aepo.rollout.explorer import Rollout, Seeds
from aepo.rollout.growing import Question
from aepo.solving.actions import actions, best
from aepo.solving.budget import SolvingBudget, SolvingPrices, SolvingSpent, rounds
from aepo.solving.choice import choose
from aepo.solving.engine import metered
from aepo.solving.meter import Meter
from aepo.solving.solution import Progress, Solution, decided
from aepo.solving.vote import tally
from aepo.training.metrics import exploration_update
from aepo.types import Group, Leaf, Sample

Watch = Callable[[Progress], None]
KeepGroup = Callable[[int, Group], object]


@dataclass(frozen=True)
class Means:
    """The parts that solve a question; `reward`, `judge`, `watch` and `kept` are those of `aepo.solve`.

    Attributes:
        agent: Grows trajectories; its engine must be entered.
        algorithm: Gives the rules of the rollout; its `group_size` is the largest round.
        state: The entropy scales before the first round.
        rewards_at_once: Largest number of calls of the reward at once.
    """

    agent: Agent
    algorithm: Algorithm
    state: ExplorationState
    budget: SolvingBudget
    prices: SolvingPrices = field(default_factory=SolvingPrices)
    reward: Reward | None = None
    rewards_at_once: int = AT_ONCE
    judge: Ask | None = None
    seed: int = 0
    watch: Watch | None = None
    kept: KeepGroup | None = None


class Solving:
    """One question that is being solved.

    Raises:
        ValueError: The budget is in money but nothing has a price; there are both a reward and a judge; or the engine
            is deterministic and the budget may hold trajectories back, for which it would wait.
    """

    def __init__(self, sample: Sample, means: Means) -> None:
        """Check the parts; nothing is used yet."""
        prices = [tool.price for tool in means.agent.tools.values()]
        self._sizes = rounds(means.budget.most_trajectories, means.algorithm.group_size)
        if means.budget.money is not None and not (means.prices.input or means.prices.output or any(prices)):
            raise ValueError("a budget of money needs a price: of a million tokens, or of a tool's call")
        if means.reward is not None and means.judge is not None:
            raise ValueError("a reward and a judge: only one of them can choose the answer")
        if means.budget.holds_back and means.agent.generator.deterministic:
            raise ValueError(
                "a deterministic engine waits for all trajectories, but a budget of calls, tokens or money holds some "
                "back: set rollout.deterministic to false, or limit trajectories alone"
            )
        for size in self._sizes:
            _rules(means.algorithm, size)
        self.sample, self.means = sample, means
        self.meter = Meter(means.budget, means.prices)
        self._agent = metered(means.agent, self.meter, self._changed)
        self._scorer = None if means.reward is None else RewardScorer(means.reward, means.rewards_at_once)
        self._groups: list[Group] = []
        self._growing: Question | None = None
        self._began = 0.0

    async def run(self) -> Solution:
        """Use the budget, then choose the answer.

        Raises:
            RolloutError: A tool has a bug, and `on_tool_bug` is "stop".
            Exception: The engine, the reward or the judge raised it.
        """
        self._began, state = time.perf_counter(), self.means.state
        least = max(1, self.means.algorithm.exploration().probes)
        affordable = self.means.budget.most_trajectories
        for number, size in enumerate(self._sizes, 1):
            group = await self._round(number, min(size, max(least, affordable)), state)
            self._groups.append(group)
            self._keep(number, group)
            affordable = self.meter.affordable()
            if self.meter.exhausted is not None:
                break
            state = exploration_update([group], state)
        return await self._decide()

    def interrupt(self) -> None:
        """Stop now and vote over the ended trajectories."""
        self.meter.interrupt()

    async def _round(self, number: int, size: int, state: ExplorationState) -> Group:
        rules = _rules(self.means.algorithm, size)
        rollout = Rollout(self._agent, rules, self._scorer)
        seeds = Seeds(self.means.seed, f"solve/{number}")
        async with anyio.create_task_group() as rollout.tasks:
            self.meter.stop = rollout.tasks.cancel_scope.cancel
            for question in await rollout.ask([self.sample], state, seeds):
                self._growing = question
        question, self._growing = self._growing, None
        if rollout.failure is not None:
            if question is not None:
                self._keep(number, question.group())
            raise rollout.failure
        assert question is not None
        return question.grown or question.group()

    def _keep(self, number: int, group: Group) -> None:
        if self.means.kept is not None:
            self.means.kept(number, group)

    async def _decide(self) -> Solution:
        reward, judge, question = self.means.reward, self.means.judge, self.sample.question
        if reward is not None:
            await score(self._groups, reward, self.means.rewards_at_once)
        acting = {name for name, tool in self._agent.tools.items() if tool.environment}
        chosen = best(self._groups) if acting else []
        leaves = [one.leaf for one in chosen] if acting else self._leaves()
        tallies = tally([leaf.answer for leaf in leaves], [leaf.reward for leaf in leaves])
        by = "judge" if judge is not None else "reward" if reward is not None else "vote"
        place = 0 if judge is None else await choose(judge, question, tallies)
        limit = self.meter.exhausted or "trajectories"
        solution = decided(question, tuple(self._groups), tallies, by, place, limit, self._spent())
        if not acting:
            return solution
        made = actions(chosen, solution.answer, acting)
        return replace(solution, actions=made, chosen_by="reward" if reward is not None else solution.chosen_by)

    def _leaves(self) -> list[Leaf]:
        leaves = [leaf for group in self._groups for leaf in group.tree.leaves]
        return leaves if self._growing is None else leaves + self._growing.leaves

    def _changed(self) -> None:
        if self.means.watch is not None:
            answers = [leaf.answer for leaf in self._leaves()]
            at, of, wanted = len(self._groups) + 1, len(self._sizes), sum(self._sizes)
            self.means.watch(Progress(at, of, wanted, len(answers), tally(answers), self._spent()))

    def _spent(self) -> SolvingSpent:
        return replace(self.meter.spent, seconds=time.perf_counter() - self._began)


def _rules(algorithm: Algorithm, size: int) -> Exploration:
    """The rules for a round of this size; ValueError if it is too small for them."""
    return algorithm.model_copy(update={"group_size": size}).exploration()
