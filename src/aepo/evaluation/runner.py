"""Evaluates a policy on questions of a task, by sampling and greedily."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan

from aepo.core.exploration import IndependentSamples
from aepo.evaluation.intervals import Interval, estimate
from aepo.evaluation.outcomes import Attempt, Outcome, attempts, outcome
from aepo.evaluation.prices import Prices, spent
from aepo.rollout.agent import Agent
from aepo.rollout.explorer import Seeds, executed_calls, explore
from aepo.rollout.growing import Scorer
from aepo.types import SUCCESS, Group, Kind, Sample


@dataclass(frozen=True)
class Evaluation:
    """The trajectories of a policy on some questions.

    Attributes:
        sampled: One group per question, with independent trajectories.
        greedy: One group with one trajectory per question; empty without greedy sampling.
    """

    sampled: list[Group]
    greedy: list[Group]

    def outcomes(self) -> list[Outcome]:
        """The outcomes of the questions, in the order in which they were asked."""
        best: list[Attempt | None] = [attempts(group)[0] for group in self.greedy] or [None] * len(self.sampled)
        return [outcome(group, one) for group, one in zip(self.sampled, best, strict=True)]

    def passes(self, k: int) -> Interval:
        """Unbiased Pass@k over the sampled trajectories; ValueError if there are fewer than k samples per question."""
        values = [one.passes(k) for one in self.outcomes()]
        if any(isnan(value) for value in values):
            raise ValueError(f"Pass@{k} needs at least {k} samples a question")
        return estimate(values, 0.0, 1.0)

    @property
    def greedy_success(self) -> Interval | None:
        """The share of questions that greedy sampling solves; None without it."""
        return estimate([float(g.rewards[0] >= SUCCESS) for g in self.greedy], 0.0, 1.0) if self.greedy else None

    @property
    def samples(self) -> int:
        """Number of sampled trajectories per question."""
        return len(self.sampled[0].tree.leaves)

    @property
    def calls(self) -> Interval:
        """The mean number of executed tool calls of a sampled trajectory."""
        return estimate([executed_calls(group.tree) / self.samples for group in self.sampled], least=0.0)

    @property
    def tokens(self) -> Interval:
        """The mean number of tokens that the policy wrote in a sampled trajectory."""
        written = [sum(len(n.tokens) for n in g.tree.nodes if n.kind is Kind.POLICY) for g in self.sampled]
        return estimate([count / self.samples for count in written], least=0.0)

    def cost(self, prices: Prices) -> Interval:
        """The mean price of a question, with all its sampled trajectories."""
        return estimate([sum(prices(spent(t)) for t in group.trajectories()) for group in self.sampled], least=0.0)

    def metrics(self) -> dict[str, float]:
        """The figures by the names that a run logs."""
        first, calls, tokens = self.passes(1), self.calls, self.tokens
        metrics = {
            "eval/success": first.mean,
            "eval/success_low": first.low,
            "eval/success_high": first.high,
            f"eval/pass@{self.samples}": self.passes(self.samples).mean,
            "eval/calls": calls.mean,
            "eval/tokens": tokens.mean,
        }
        if self.greedy_success is not None:
            metrics["eval/greedy"] = self.greedy_success.mean
        return {name: value for name, value in metrics.items() if not isnan(value)}

    def __str__(self) -> str:
        """The figures, one per line."""
        ks = [k for k in (1, 2, 4, 5, 8, 16) if k <= self.samples]
        lines = [f"Pass@{k:<3} {self.passes(k)}" for k in ks]
        if self.greedy_success is not None:
            lines.append(f"greedy  {self.greedy_success}")
        lines += [f"calls   {self.calls} per trajectory", f"tokens  {self.tokens} per trajectory"]
        return "\n".join(lines)


async def evaluate(
    questions: Sequence[Sample], scorer: Scorer, sampler: Agent, greedy: Agent | None, samples: int, seed: int
) -> Evaluation:
    """Answer each question `samples` times by sampling and, if there is a greedy agent, once greedily.

    Random numbers depend on seed, question and sample only, so two policies are measured with the same ones.

    Raises:
        RolloutError: A tool has a bug.
        ValueError: A reward is not one finite number.
    """
    seeds = Seeds(seed, "evaluation")
    rules = IndependentSamples(samples)
    sampled = await explore(questions, sampler, rules, rules.initial_state(2), seeds, scorer)
    best: list[Group] = []
    if greedy is not None:
        one = IndependentSamples(1)
        best = await explore(questions, greedy, one, one.initial_state(2), seeds, scorer)
    return Evaluation(sampled, best)
