"""The rules by which a group of k trajectories is sampled. No torch.

An `Exploration` decides and the explorer samples. A run updates its `ExplorationState` once a step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from aepo.core import scale
from aepo.core.budget import least_global_samples
from aepo.types import BranchDecision


@dataclass(frozen=True)
class Candidate:
    """One observation of one path, where a branch may start; the path may have ended since.

    Attributes:
        path: Number of the path inside its tree.
        entropy: H_t, segment entropy after the observation.
        root_entropy: h_init of the path.
        consecutive: l, observations in a row, before this one, that count (`Exploration.in_streak`).
        uniform: u in [0, 1), a function of run seed, step, question, path and observation alone.
    """

    path: int
    entropy: float
    root_entropy: float
    consecutive: int
    uniform: float


@dataclass(frozen=True)
class Step:
    """One turn with tool calls of an ended path, and the observation after it.

    Attributes:
        observation: i, the number of the observation, from 1; inherited ones count.
        uniform: u in [0, 1), as in `Candidate`.
        decision: The decision after the observation; None if there was none.
        call_entropy: Mean entropy of the calls' own tokens, in nats; None unless `Exploration.needs_call_entropy`.
        call_probability: Mean probability of these tokens under the policy; None unless
            `Exploration.needs_call_probability`.
    """

    observation: int
    uniform: float
    decision: BranchDecision | None = None
    call_entropy: float | None = None
    call_probability: float | None = None


@dataclass(frozen=True)
class Ended:
    """A path that has ended.

    Attributes:
        path: Number of the path inside its tree.
        steps: Its own turns with calls, in order, without inherited ones.
        reward: None unless `Exploration.needs_rewards`.
    """

    path: int
    steps: Sequence[Step]
    reward: float | None = None


@dataclass(frozen=True)
class Restart:
    """A path that begins inside an ended path, at a turn with calls that the ended path wrote itself.

    Attributes:
        path: The ended path.
        observation: i, the number of the observation after the turn.
        before_call: Keep only the tokens before the turn's calls and sample the calls again; otherwise the calls and
            their observation are kept.
        inside_call: With `before_call`: keep the opening of the first call, too, so that a call follows in any case.
    """

    path: int
    observation: int
    before_call: bool = False
    inside_call: bool = False


@dataclass(frozen=True)
class ExplorationState:
    """Running statistics of a run's entropies; kept in checkpoints, updated once a step.

    Attributes:
        gap: Scale of H_root - H_tool.
        delta: Scale of H_t - h_init.
        mean_observations: T, running mean of observations per trajectory; None before the first step.
        steps: Steps that sampled trajectories.
    """

    gap: scale.EntropyScale
    delta: scale.EntropyScale
    mean_observations: float | None = None
    steps: int = 0

    def updated(
        self, gaps: Sequence[float], deltas: Sequence[float], observations_per_trajectory: Sequence[float]
    ) -> ExplorationState:
        """The state after a step; an empty sequence does not change its part.

        Args:
            gaps: Unscaled gaps, in nats, of the questions whose probes called a tool.
            deltas: Unscaled H_t - h_init, in nats, of all observations with a decision.
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


@dataclass(frozen=True)
class Exploration:
    """How an algorithm samples a group of k trajectories. By default all k are independent.

    A subclass overrides what differs. Its settings are fields of a frozen dataclass. Its methods are pure functions of
    their arguments, so that a tree depends on seeds only.

    Attributes:
        group_size: k, trajectories per question.

    Raises:
        ValueError: `group_size` is below 1.

    Examples:
        Half of the group starts from the question. The first observations get one branch each until the budget is used:

        >>> from dataclasses import replace
        >>> class EarlyBranches(Exploration):
        ...     watches = True
        ...
        ...     def head_start(self):
        ...         return (self.group_size + 1) // 2
        ...
        ...     def decide(self, candidates, observation, used, budget, mean_observations, state):
        ...         none = super().decide(candidates, observation, used, budget, mean_observations, state)
        ...         first = [replace(decision, branches=1, stopped_by=None) for decision in none[: budget - used]]
        ...         return first + none[len(first) :]
        >>> rules = EarlyBranches(group_size=8)
        >>> after_search = [Candidate(path, 1.5, 1.0, 0, 0.3) for path in range(4)]
        >>> decisions = rules.decide(after_search, 1, 2, 4, 1.0, rules.initial_state(vocab_size=1000))
        >>> [decision.branches for decision in decisions]
        [1, 1, 0, 0]
    """

    group_size: int

    def __post_init__(self) -> None:
        """Check the group size."""
        least_global_samples(self.group_size, probes=0)

    @property
    def probes(self) -> int:
        """Trajectories whose entropies decide m; 0 for none."""
        return 0

    @property
    def entropy_window(self) -> int:
        """W, tokens of a segment entropy."""
        return 20

    @property
    def entropy_scale(self) -> scale.Mode:
        """The unit of entropy changes."""
        return "running"

    @property
    def watches(self) -> bool:
        """Whether `decide` needs the entropy of paths after each observation; that of probes is always measured."""
        return False

    @property
    def looks_back(self) -> bool:
        """Whether `restarts` may begin paths inside ended ones."""
        return False

    @property
    def needs_rewards(self) -> bool:
        """Whether `restarts` reads rewards."""
        return False

    @property
    def needs_call_entropy(self) -> bool:
        """Whether `restarts` reads the mean entropy of calls."""
        return False

    @property
    def needs_call_probability(self) -> bool:
        """Whether `restarts` reads the mean probability of calls."""
        return False

    def head_start(self) -> int:
        """Trajectories that start from the question at once, before m is known; at least `probes`."""
        return self.group_size

    def global_samples(self, gap: float | None, state: ExplorationState) -> int:
        """m, given the probes' gap in nats: None without probes, 0.0 if the probes called no tool."""
        return self.head_start()

    def decide(
        self,
        candidates: Sequence[Candidate],
        observation: int,
        used: int,
        budget: int,
        mean_observations: float,
        state: ExplorationState,
    ) -> list[BranchDecision]:
        """Decide about the i-th observations of one question together: one decision per candidate, in their order.

        By default nothing branches: P is 0.

        Args:
            candidates: Every path of the question that has an i-th observation, ended paths included.
            observation: i, from 1.
            used: Branches that the question has started before.
            budget: k - m.
            mean_observations: T, observations per trajectory.
            state: The run's scales.
        """
        return [
            BranchDecision(c.entropy, state.delta(c.entropy - c.root_entropy), c.consecutive, 0.0, 0, "budget")
            for c in candidates
        ]

    def in_streak(self, decision: BranchDecision) -> bool:
        """Whether an observation with this decision counts in l; otherwise l is 0 after it."""
        return decision.branches > 0

    def restarts(self, ended: Sequence[Ended], slots: int, mean_observations: float) -> list[Restart]:
        """The places where the last paths of a question begin; called once all others have ended, if slots are left.

        Slots that no restart uses get trajectories from the question at the same time.

        Args:
            ended: Every path of the question, in order.
            slots: Trajectories that are missing from k, and the largest number of restarts.
            mean_observations: T, observations per trajectory.
        """
        return []

    def initial_state(self, vocab_size: int) -> ExplorationState:
        """The state before the first step; entropy changes are in the unit `entropy_scale`."""
        # m depends on the sign of the gap, and centring would remove it.
        gap = scale.EntropyScale("running" if self.entropy_scale == "centered" else self.entropy_scale, vocab_size)
        return ExplorationState(gap, scale.EntropyScale(self.entropy_scale, vocab_size))


class IndependentSamples(Exploration):
    """k trajectories from the question, no branches, as in GRPO."""
