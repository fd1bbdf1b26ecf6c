"""AEPO's rules of the rollout; with other settings, ARPO's. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from aepo.core import branching, scale
from aepo.core.budget import global_samples as samples_for_gap
from aepo.core.budget import least_global_samples
from aepo.core.exploration import Candidate, Ended, Exploration, ExplorationState, Restart, Step
from aepo.types import BranchDecision


class BranchSettings(BaseModel):
    """Where paths branch, and how often: the settings that ARPO and AEPO share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    beam_size: int = Field(
        default=2,
        ge=2,
        description="Z, paths that go on after a branch, the path itself included; the paper counts additional ones.",
    )
    initial_fraction: float = Field(default=0.5, gt=0, le=1, description="m / k, where no probe decides m.")
    alpha: float = Field(default=0.5, description="Branch probability where entropy did not change.")
    gamma: float = Field(default=0.2, description="Weight of the scaled entropy change.")
    tau: float = Field(
        default=0.5,
        description="What the branch probability P must be above, with the rules `threshold` and `reference`.",
    )
    branch_rule: branching.Rule = Field(
        default="threshold",
        description="`threshold`: branch where P is above tau; `bernoulli`: with probability P; `reference`: as the "
        "public code, with a random number in place of alpha; `random`: as many branches, placed blindly.",
    )
    entropy_scale: scale.Mode = Field(
        default="running",
        description="What entropy changes are divided by: `running`: their running root mean square; `centered`: the "
        "same, after subtracting their running mean; `nats`: nothing; `log_vocab`: ln V, with sums instead of means; "
        "`reference`: the same with the ten likeliest tokens alone.",
    )
    entropy_window: int = Field(default=20, ge=1, description="W, tokens of a segment entropy.")
    branch_time: branching.Time = Field(
        default="online",
        description="`online`: branch as soon as all paths have come so far; `retrospective`: let the m global samples "
        "end, then branch at the best of all their observations, without threshold, pacing or penalty.",
    )
    depth_bonus: float = Field(
        default=0.3, ge=0, description="What late observations gain over early ones, in units of P; in retrospect only."
    )


class BalancedBranchSettings(BranchSettings):
    """All settings of the rule. AEPO adds how m follows the probes, and a limit on the branches of one path."""

    dynamic_budget: bool = Field(default=True, description="Let the probes set m; off: m is `initial_fraction` of k.")
    probes: int = Field(default=1, ge=1, description="Trajectories that decide m; with `dynamic_budget` only.")
    beta: float = Field(default=1.0, description="How fast m follows the scaled gap.")
    min_global: float = Field(
        default=0.25, ge=0, le=1, description="Smallest share of k from the question; with `dynamic_budget` only."
    )
    penalty: float = Field(default=0.05, ge=0, description="What each step of l takes from the probability.")
    streak: branching.Streak = Field(
        default="uncertain",
        description="What l counts: observations in a row at which the rule without penalty passed, or only those at "
        "which a branch started.",
    )
    pacing: branching.Pacing = Field(default="even", description="`even`: keep branches for later observations.")

    @classmethod
    def of(cls, algorithm: BranchSettings, instead: Mapping[str, Any]) -> BalancedBranchSettings:
        """Take the settings of the rule from those of an algorithm.

        Args:
            algorithm: Its settings include those of the rule.
            instead: Values that replace the algorithm's, or that it does not have.
        """
        own = algorithm.model_dump(include=set(cls.model_fields))
        return cls(**{**own, **instead})


@dataclass(frozen=True)
class EntropyBranching(Exploration):
    """AEPO's rollout: m by the probes' entropy gap, branches where entropy rose after an observation.

    Online, the i-th observations are decided when all paths have theirs. In retrospect, the m global samples end first;
    then branches start at their best observations, without threshold, pacing or penalty.

    Attributes:
        settings: All settings of the rule.

    Raises:
        ValueError: `group_size` is below 1, or smaller than the probes.
    """

    settings: BalancedBranchSettings

    def __post_init__(self) -> None:
        """Refuse a group that is smaller than the probes."""
        super().__post_init__()
        if self.probes > self.group_size:
            raise ValueError(f"probes is {self.probes}, it must be between 1 and group_size = {self.group_size}")

    @property
    def probes(self) -> int:
        """Trajectories whose entropies decide m; 0 without `dynamic_budget`."""
        return self.settings.probes if self.settings.dynamic_budget else 0

    @property
    def entropy_window(self) -> int:
        """W, tokens of a segment entropy."""
        return self.settings.entropy_window

    @property
    def entropy_scale(self) -> scale.Mode:
        """The unit of entropy changes."""
        return self.settings.entropy_scale

    @property
    def watches(self) -> bool:
        """Whether branches are possible."""
        return self.head_start() < self.group_size

    @property
    def looks_back(self) -> bool:
        """Whether branches begin in retrospect."""
        return self.settings.branch_time != "online"

    def head_start(self) -> int:
        """The smallest possible m."""
        if self.settings.dynamic_budget:
            return least_global_samples(self.group_size, self.probes, self.settings.min_global)
        return max(1, math.floor(self.group_size * self.settings.initial_fraction + 0.5))

    def global_samples(self, gap: float | None, state: ExplorationState) -> int:
        """m, given the probes' gap in nats; the gap is not read without `dynamic_budget`.

        Raises:
            ValueError: The budget is dynamic and there is no gap.
        """
        if not self.settings.dynamic_budget:
            return self.head_start()
        if gap is None:
            raise ValueError("a dynamic budget needs the probes' entropy gap, got None")
        beta, min_global = self.settings.beta, self.settings.min_global
        return samples_for_gap(state.gap(gap), self.group_size, beta, self.probes, min_global)

    def decide(
        self,
        candidates: Sequence[Candidate],
        observation: int,
        used: int,
        budget: int,
        mean_observations: float,
        state: ExplorationState,
    ) -> list[BranchDecision]:
        """Branch decisions for the i-th observations of one question; arguments and order as of `Exploration.decide`.

        The highest P comes first (rule "random": the lowest u), and equal ones go by path number. Each observation gets
        up to `beam_size` - 1 branches, and budget and pacing are checked before each branch. So the result does not
        depend on the order of the candidates. In retrospect nothing branches here; `restarts` reads the recorded P.
        """
        rate = branching.random_rate(budget, self.group_size - budget, mean_observations)
        decisions = [self._judge(c, rate, state) for c in candidates]
        if self.settings.branch_time == "retrospective":
            return [replace(decision, stopped_by="budget") for decision in decisions]
        for at in sorted(range(len(candidates)), key=lambda at: self._rank(candidates[at], decisions[at])):
            if decisions[at].stopped_by is not None:
                continue
            branches = 0
            while branches < self.settings.beam_size - 1 and branching.allowed(
                used, budget, observation, mean_observations, self.settings.pacing
            ):
                branches += 1
                used += 1
            stopped_by = None if branches else "budget" if used >= budget else "pacing"
            decisions[at] = replace(decisions[at], branches=branches, stopped_by=stopped_by)
        return decisions

    def in_streak(self, decision: BranchDecision) -> bool:
        """Whether the observation counts in l, by `streak`. In retrospect none does."""
        if self.settings.branch_time == "retrospective":
            return False
        if self.settings.streak == "branches":
            return super().in_streak(decision)
        return decision.stopped_by != "threshold"

    def restarts(self, ended: Sequence[Ended], slots: int, mean_observations: float) -> list[Restart]:
        """In retrospect, branch after the observations with the highest P + depth_bonus i / T.

        Online there are none. The rule "random" takes the lowest u. Each observation gets up to `beam_size` - 1
        branches before the next one; equal ones go by path number, then by observation. Observations without a decision
        are skipped. Arguments as of `Exploration.restarts`.
        """
        if self.settings.branch_time == "online":
            return []
        ranked = sorted(
            (self._hindsight(step.decision, step, mean_observations), path.path, step.observation)
            for path in ended
            for step in path.steps
            if step.decision is not None
        )
        places = [Restart(path, number) for _, path, number in ranked for _ in range(self.settings.beam_size - 1)]
        return places[:slots]

    def _judge(self, c: Candidate, rate: float, state: ExplorationState) -> BranchDecision:
        """The decision about one candidate, before budget and pacing."""
        delta = state.delta(c.entropy - c.root_entropy)
        probability, passes = self._rule(delta, c.consecutive, c.uniform, rate)
        stopped_by = None
        if not passes:
            stopped_by = "penalty" if self._rule(delta, 0, c.uniform, rate)[1] else "threshold"
        return BranchDecision(c.entropy, delta, c.consecutive, probability, 0, stopped_by)

    def _rule(self, delta: float, consecutive: int, uniform: float, rate: float) -> tuple[float, bool]:
        """P, and whether the rule would branch."""
        of = self.settings
        if of.branch_rule == "random":
            return rate, branching.bernoulli_rule(rate, uniform)
        if of.branch_rule == "reference":
            probability = branching.reference_probability(delta, consecutive, of.gamma, of.penalty, of.tau)
            return probability, branching.reference_rule(delta, consecutive, uniform, of.gamma, of.penalty, of.tau)
        probability = branching.branch_probability(delta, consecutive, of.alpha, of.gamma, of.penalty)
        if of.branch_rule == "bernoulli":
            return probability, branching.bernoulli_rule(probability, uniform)
        return probability, branching.threshold_rule(probability, of.tau)

    def _rank(self, c: Candidate, decision: BranchDecision) -> tuple[float, int]:
        return (c.uniform if self.settings.branch_rule == "random" else -decision.probability, c.path)

    def _hindsight(self, decision: BranchDecision, step: Step, mean_observations: float) -> float:
        """Sort key of observations in retrospect; the best have the lowest."""
        if self.settings.branch_rule == "random":
            return step.uniform
        return -branching.hindsight_score(
            decision.probability, step.observation, mean_observations, self.settings.depth_bonus
        )
