"""AEPO's rules of the rollout, and with other settings those of ARPO (spec 3). No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from aepo.core import branching, scale
from aepo.core.budget import global_samples as samples_for_gap
from aepo.core.budget import least_global_samples
from aepo.core.exploration import Candidate, Ended, ExplorationState, Restart, Step, initial_state
from aepo.types import BranchDecision


@dataclass(frozen=True)
class EntropyBranching:
    """AEPO's rollout: m from the probes' entropy gap, branches where entropy rose after an observation (spec 3).

    Online, observations are decided about as soon as all paths have come so far. In retrospect, the m global samples
    end first, and then the branches start at the best of all their observations, without threshold, pacing or penalty.

    Attributes:
        group_size: k.
        beam_size: Z, paths that go on after a branching observation, the path itself included.
        probes: Trajectories that decide m; becomes 0 if `dynamic_budget` is off, for nothing would be asked of them.
        dynamic_budget: Whether m follows the gap; if not, it is `initial_fraction` of k.
        beta: How fast m follows the scaled gap.
        min_global: Smallest share of k that starts from the question; with `dynamic_budget` only.
        initial_fraction: m / k without `dynamic_budget`.
        alpha: Branch probability where entropy did not change.
        gamma: Weight of the scaled entropy change.
        tau: Threshold of the rules "threshold" and "reference".
        penalty: What each branch in a row takes from the probability.
        branch_rule: One of `aepo.core.branching.RULES`.
        pacing: One of `aepo.core.branching.PACINGS`.
        entropy_scale: One of `aepo.core.scale.MODES`.
        entropy_window: W, tokens of a segment entropy.
        branch_time: One of `aepo.core.branching.TIMES`.
        depth_bonus: What a place at the end of a trajectory of mean length gains over one at its beginning, in units
            of the branch probability; in retrospect only.
    """

    group_size: int
    beam_size: int = 2
    probes: int = 1
    dynamic_budget: bool = True
    beta: float = 1.0
    min_global: float = 0.25
    initial_fraction: float = 0.5
    alpha: float = 0.5
    gamma: float = 0.2
    tau: float = 0.6
    penalty: float = 0.05
    branch_rule: str = "threshold"
    pacing: str = "even"
    entropy_scale: str = "running"
    entropy_window: int = 20
    branch_time: str = "online"
    depth_bonus: float = 0.3

    def __post_init__(self) -> None:
        """Refuse what cannot be explored with."""
        if not self.dynamic_budget:
            object.__setattr__(self, "probes", 0)
        elif self.probes < 1:
            raise ValueError(
                f"probes is {self.probes}: a dynamic budget needs at least 1, or set dynamic_budget: false"
            )
        least_global_samples(self.group_size, self.probes, self.min_global)
        if not 0.0 <= self.initial_fraction <= 1.0:
            raise ValueError(f"initial_fraction is {self.initial_fraction}, it must be between 0 and 1")
        if self.beam_size < 2:
            raise ValueError(f"beam_size is {self.beam_size}, it counts the path itself and must be at least 2")
        if self.penalty < 0.0:
            raise ValueError(f"penalty is {self.penalty}, it must not be negative")
        if self.depth_bonus < 0.0:
            raise ValueError(f"depth_bonus is {self.depth_bonus}, it must not be negative")
        if self.entropy_window < 1:
            raise ValueError(f"entropy_window is {self.entropy_window}, it must be at least 1")
        for name, value, known in (
            ("branch_rule", self.branch_rule, branching.RULES),
            ("pacing", self.pacing, branching.PACINGS),
            ("branch_time", self.branch_time, branching.TIMES),
            ("entropy_scale", self.entropy_scale, scale.MODES),
        ):
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}, known are {', '.join(known)}")

    @property
    def watches(self) -> bool:
        """Whether anything may be left to branch with."""
        return self.head_start() < self.group_size

    @property
    def needs_rewards(self) -> bool:
        """Entropies are all it goes by."""
        return False

    @property
    def needs_call_entropy(self) -> bool:
        """It goes by entropies after observations."""
        return False

    def head_start(self) -> int:
        """The smallest m that may come out."""
        if self.dynamic_budget:
            return least_global_samples(self.group_size, self.probes, self.min_global)
        return self._fixed_globals()

    def global_samples(self, gap: float | None, state: ExplorationState) -> int:
        """m, given the probes' gap in nats (spec 3.1); the gap is not read without `dynamic_budget`.

        Raises:
            ValueError: The budget is dynamic and there is no gap.
        """
        if not self.dynamic_budget:
            return self._fixed_globals()
        if gap is None:
            raise ValueError("a dynamic budget needs the probes' entropy gap, got None")
        return samples_for_gap(state.gap(gap), self.group_size, self.beta, self.probes, self.min_global)

    def decide(
        self,
        candidates: Sequence[Candidate],
        observation: int,
        used: int,
        budget: int,
        mean_observations: float,
        state: ExplorationState,
    ) -> list[BranchDecision]:
        """Branch decisions for the i-th observations of one question, in the candidates' order (spec 3.2).

        Highest P first (rule "random": lowest u first), ties by path number; each gets up to `beam_size` - 1 branches,
        and budget and pacing are asked again before every single one. So the result does not depend on the order in
        which candidates are given. In retrospect nobody branches yet: P is recorded, and `restarts` goes by it.

        Args:
            candidates: Every path of the question that has an i-th observation, ended paths included.
            observation: i, from 1.
            used: Branches that the question has started before.
            budget: k - m.
            mean_observations: T, observations per trajectory.
            state: The run's scales.
        """
        rate = branching.random_rate(budget, self.group_size - budget, mean_observations)
        decisions = [self._judge(c, rate, state) for c in candidates]
        if self.branch_time == "retrospective":
            return [replace(decision, stopped_by="budget") for decision in decisions]
        for at in sorted(range(len(candidates)), key=lambda at: self._rank(candidates[at], decisions[at])):
            if decisions[at].stopped_by is not None:
                continue
            branches = 0
            while branches < self.beam_size - 1 and branching.allowed(
                used, budget, observation, mean_observations, self.pacing
            ):
                branches += 1
                used += 1
            stopped_by = None if branches else "budget" if used >= budget else "pacing"
            decisions[at] = replace(decisions[at], branches=branches, stopped_by=stopped_by)
        return decisions

    def restarts(self, ended: Sequence[Ended], slots: int, mean_observations: float) -> list[Restart]:
        """In retrospect: right after the observations of highest P + depth_bonus i / T (spec 3.2); online none.

        Rule "random": of lowest u. Each gets up to `beam_size` - 1 branches before the next one; ties by path number,
        then by observation. Observations that nobody asked about are passed over.

        Args:
            ended: Every path of the question.
            slots: Trajectories that are missing from k.
            mean_observations: T, observations per trajectory.
        """
        if self.branch_time == "online":
            return []
        ranked = sorted(
            (self._hindsight(step.decision, step, mean_observations), path.path, step.call)
            for path in ended
            for step in path.steps
            if step.decision is not None
        )
        places = [Restart(path, call) for _, path, call in ranked for _ in range(self.beam_size - 1)]
        return places[:slots]

    def initial_state(self, vocab_size: int) -> ExplorationState:
        """The state before the first step."""
        return initial_state(self.entropy_scale, vocab_size)

    def _fixed_globals(self) -> int:
        return max(1, math.floor(self.group_size * self.initial_fraction + 0.5))

    def _judge(self, c: Candidate, rate: float, state: ExplorationState) -> BranchDecision:
        """The rule's word on one candidate, before slots are counted."""
        delta = state.delta(c.entropy - c.root_entropy)
        probability, passes = self._rule(delta, c.consecutive, c.uniform, rate)
        stopped_by = None
        if not passes:
            stopped_by = "penalty" if self._rule(delta, 0, c.uniform, rate)[1] else "threshold"
        return BranchDecision(c.entropy, delta, c.consecutive, probability, 0, stopped_by)

    def _rule(self, delta: float, consecutive: int, uniform: float, rate: float) -> tuple[float, bool]:
        """P, and whether the rule would branch."""
        if self.branch_rule == "random":
            return rate, branching.bernoulli_rule(rate, uniform)
        if self.branch_rule == "reference":
            probability = branching.reference_probability(delta, consecutive, self.gamma, self.penalty, self.tau)
            passes = branching.reference_rule(delta, consecutive, uniform, self.gamma, self.penalty, self.tau)
            return probability, passes
        probability = branching.branch_probability(delta, consecutive, self.alpha, self.gamma, self.penalty)
        if self.branch_rule == "bernoulli":
            return probability, branching.bernoulli_rule(probability, uniform)
        return probability, branching.threshold_rule(probability, self.tau)

    def _rank(self, c: Candidate, decision: BranchDecision) -> tuple[float, int]:
        return (c.uniform if self.branch_rule == "random" else -decision.probability, c.path)

    def _hindsight(self, decision: BranchDecision, step: Step, mean_observations: float) -> float:
        """What observations are sorted by in retrospect, the best first."""
        if self.branch_rule == "random":
            return step.uniform
        return -branching.hindsight_score(decision.probability, step.call, mean_observations, self.depth_bonus)
