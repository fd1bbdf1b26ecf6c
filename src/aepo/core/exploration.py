"""How a group of k trajectories is spent: probes, global samples, branches (spec 3). Rules only; no torch.

The explorer carries out what an `Exploration` decides and feeds its `ExplorationState` once a step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from aepo.core import branching, scale
from aepo.core.budget import global_samples as samples_for_gap
from aepo.core.budget import least_global_samples
from aepo.types import BranchDecision


@dataclass(frozen=True)
class Candidate:
    """One observation of one path, where a branch may start; the path may have ended since.

    Attributes:
        path: Number of the path inside its tree.
        entropy: H_t, segment entropy after the observation.
        root_entropy: h_init of the path.
        consecutive: l, observations in a row, before this one, at which the path branched.
        uniform: u in [0, 1), a function of run seed, step, question, path and observation alone.
    """

    path: int
    entropy: float
    root_entropy: float
    consecutive: int
    uniform: float


@dataclass(frozen=True)
class ExplorationState:
    """What a run has learned about its entropies; kept in checkpoints, changed once a step (spec 3.2).

    Attributes:
        gap: Scale of H_root - H_tool.
        delta: Scale of H_t - h_init.
        mean_observations: T, running mean of observations per trajectory; None before the first step.
        steps: Steps that brought trajectories.
    """

    gap: scale.EntropyScale
    delta: scale.EntropyScale
    mean_observations: float | None = None
    steps: int = 0

    def updated(
        self, gaps: Sequence[float], deltas: Sequence[float], observations_per_trajectory: Sequence[float]
    ) -> ExplorationState:
        """The state after a step, from the whole step; an empty sequence leaves its part as it was.

        Args:
            gaps: Unscaled gaps, in nats, of the questions whose probes called a tool.
            deltas: Unscaled H_t - h_init, in nats, of all observations that were decided about.
            observations_per_trajectory: Observations of each trajectory, inherited ones included.

        Raises:
            ValueError: A gap or a delta is not finite.
        """
        mean, steps = self.mean_observations, self.steps
        if observations_per_trajectory:
            steps += 1
            new = math.fsum(observations_per_trajectory) / len(observations_per_trajectory)
            mean = new if mean is None else scale.running_mean(mean, new, steps, self.delta.decay)
        return ExplorationState(self.gap.updated(gaps), self.delta.updated(deltas), mean, steps)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict(to_dict())` is equal."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ExplorationState:
        """Rebuild from `to_dict` form."""
        gap, delta = scale.EntropyScale.from_dict(data["gap"]), scale.EntropyScale.from_dict(data["delta"])
        return cls(gap, delta, data["mean_observations"], data["steps"])


class Exploration(Protocol):
    """The rules of an algorithm that the explorer asks; pure, so that a tree depends on seeds only."""

    @property
    def group_size(self) -> int:
        """k, trajectories per question."""
        ...

    @property
    def probes(self) -> int:
        """Trajectories whose entropies decide m; 0 if nothing is to be asked."""
        ...

    @property
    def entropy_window(self) -> int:
        """W, tokens of a segment entropy."""
        ...

    @property
    def entropy_scale(self) -> str:
        """One of `aepo.core.scale.MODES`."""
        ...

    def head_start(self) -> int:
        """Trajectories that start from the question at once, whatever the probes will say; at least `probes`."""
        ...

    def global_samples(self, gap: float | None, state: ExplorationState) -> int:
        """m, given the probes' gap in nats: None if no probe was asked, 0.0 if the probes called no tool."""
        ...

    def decide(
        self,
        candidates: Sequence[Candidate],
        observation: int,
        used: int,
        budget: int,
        mean_observations: float,
        state: ExplorationState,
    ) -> list[BranchDecision]:
        """Decide about the i-th observations of one question together, one decision a candidate, in their order.

        Args:
            candidates: Every path of the question that has an i-th observation, ended paths included.
            observation: i, from 1.
            used: Branches that the question has started before.
            budget: k - m.
            mean_observations: T, observations per trajectory.
            state: The run's scales.
        """
        ...

    def initial_state(self, vocab_size: int) -> ExplorationState:
        """The state before the first step."""
        ...


@dataclass(frozen=True)
class IndependentSamples:
    """k trajectories from the question, no branches: what GRPO and its relatives do.

    Attributes:
        group_size: k.
        entropy_window: W, for the metrics.
        entropy_scale: Unit of the recorded entropy changes.
    """

    group_size: int
    entropy_window: int = 20
    entropy_scale: str = "running"

    def __post_init__(self) -> None:
        """Refuse a group without members."""
        least_global_samples(self.group_size, probes=0)

    @property
    def probes(self) -> int:
        """None are needed."""
        return 0

    def head_start(self) -> int:
        """All of them."""
        return self.group_size

    def global_samples(self, gap: float | None, state: ExplorationState) -> int:
        """All of them."""
        return self.group_size

    def decide(
        self,
        candidates: Sequence[Candidate],
        observation: int,
        used: int,
        budget: int,
        mean_observations: float,
        state: ExplorationState,
    ) -> list[BranchDecision]:
        """Never branches: P is 0 and no slot is left."""
        return [
            BranchDecision(c.entropy, state.delta(c.entropy - c.root_entropy), c.consecutive, 0.0, 0, "budget")
            for c in candidates
        ]

    def initial_state(self, vocab_size: int) -> ExplorationState:
        """The state before the first step."""
        return _initial_state(self.entropy_scale, vocab_size)


@dataclass(frozen=True)
class EntropyBranching:
    """AEPO's rollout: m from the probes' entropy gap, branches where entropy rose after an observation (spec 3).

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
        if self.entropy_window < 1:
            raise ValueError(f"entropy_window is {self.entropy_window}, it must be at least 1")
        for name, value, known in (
            ("branch_rule", self.branch_rule, branching.RULES),
            ("pacing", self.pacing, branching.PACINGS),
            ("entropy_scale", self.entropy_scale, scale.MODES),
        ):
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}, known are {', '.join(known)}")

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
        which candidates are given.

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

    def initial_state(self, vocab_size: int) -> ExplorationState:
        """The state before the first step."""
        return _initial_state(self.entropy_scale, vocab_size)

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


def _initial_state(entropy_scale: str, vocab_size: int) -> ExplorationState:
    # Centring would take the sign from the gap, which is all that m goes by.
    gap = scale.EntropyScale("running" if entropy_scale == "centered" else entropy_scale, vocab_size)
    return ExplorationState(gap, scale.EntropyScale(entropy_scale, vocab_size))
