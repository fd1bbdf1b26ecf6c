"""Decides which of the k paths of a question begin, where and when. No engine, no event loop.

The decisions in their order:

1. `head_start` paths begin at the question at once. The first of them are the probes.
2. When all probes have ended, their entropies give the gap, and the gap gives m. Paths begin at the question until
   there are m. Without probes this happens at once.
3. Branches are decided for the first observations of all paths together, then for the second ones, and so on. The
   decision about number i is due when each path has shown its entropy after observation i, or has ended. Branches
   begin at once, so number i + 1 waits for them too. The ended probes are candidates as well.
4. When all paths have ended and fewer than k have begun, the rules may begin paths inside ended ones. The remaining
   paths begin at the question at the same time.
5. When k paths have ended, the group is whole.

A path never waits for a decision. Decisions depend on paths, observations and entropies, not on the order in which
they arrive, so it does not matter which tool answers first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from aepo.core.branching import streak
from aepo.core.exploration import Candidate, Ended, Exploration, ExplorationState, Restart, Step
from aepo.core.noise import uniform
from aepo.types import BranchDecision, Origin


class Stage(StrEnum):
    """The place of a question in the order of decisions."""

    PROBING = "probing"
    """The probes grow; m is not known yet."""
    BRANCHING = "branching"
    """m is known; branches begin as paths show their entropies."""
    FILLING = "filling"
    """All paths have ended, but fewer than k have begun; the rest begins when the rewards for the rules are there."""
    FINISHING = "finishing"
    """The last paths grow, and all decisions are made."""
    WHOLE = "whole"
    """k paths have ended."""


@dataclass(frozen=True)
class Start:
    """A path that begins now; paths are numbered from 0 in the order in which they begin.

    Attributes:
        origin: The reason why it begins.
        watched: Whether it shows its entropy after each observation.
        parent: The path in which it begins; None if it begins at the question.
        depth: The number of inherited observations. Inside a parent it begins right after the observation with this
            number, or, with the origin "resampled", before the calls of the next turn.
        inside_call: With the origin "resampled": whether the opening of the first call is inherited, too.
    """

    origin: Origin
    watched: bool
    parent: int | None = None
    depth: int = 0
    inside_call: bool = False


@dataclass
class _Path:
    """The part of a path that decisions read.

    Attributes:
        depth: The number of inherited observations.
        observed: The number of the last observation after which it has shown its entropy.
        consecutive: l, the observations in a row that count so far.
        root_entropy: h_init; 0 until it has shown an entropy.
        ended: Whether it has ended.
    """

    depth: int = 0
    observed: int = 0
    consecutive: int = 0
    root_entropy: float = 0.0
    ended: bool = False


class Spending:
    """The decisions about one question. Each method takes an event and returns the paths that begin.

    Attributes:
        rules: The algorithm's rules.
        stage: The current stage.
        gap: The mean gap of the probes, in nats; None without probes, or before they have ended.
        global_samples: m; 0 before it is known.
        decisions: The decisions, by path and number of the observation.
    """

    def __init__(self, rules: Exploration, state: ExplorationState, noise: Callable[[int], int]) -> None:
        """Set the rules; no path begins yet.

        Args:
            rules: The algorithm's rules.
            state: The run's entropy scales.
            noise: Gives the random key of a path from its number.
        """
        self.rules = rules
        self.stage = Stage.PROBING
        self.gap: float | None = None
        self.global_samples = 0
        self.decisions: dict[tuple[int, int], BranchDecision] = {}
        self._state, self._noise = state, noise
        self._paths: list[_Path] = []
        self._entropies: dict[int, dict[int, float]] = {}
        """H_t by number of the observation, then by path."""
        self._decided = 0
        self._branches = 0

    def begin(self) -> list[Start]:
        """Begin the first paths."""
        probes, count = self.rules.probes, self.rules.head_start()
        starts = [self._start(Origin.PROBE if number < probes else Origin.GLOBAL) for number in range(count)]
        return starts + self._due()

    def shown(self, path: int, observation: int, entropy: float, root_entropy: float) -> list[Start]:
        """Take the entropy that a path has shown after an observation.

        Args:
            path: The number of the path.
            observation: i, from 1; inherited ones count.
            entropy: H_t, in nats.
            root_entropy: h_init of the path, in nats.
        """
        self._entropies.setdefault(observation, {})[path] = entropy
        self._paths[path].observed, self._paths[path].root_entropy = observation, root_entropy
        return self._due()

    def ended(self, path: int) -> list[Start]:
        """Take the end of a path. If the stage is then FILLING, the caller must call `fill`."""
        self._paths[path].ended = True
        starts = self._due()
        if all(path.ended for path in self._paths):
            self.stage = Stage.FILLING if self._left() > 0 else Stage.WHOLE
        return starts

    def refused(self, path: int, parent: int, depth: int) -> None:
        """Take note of a branch that could not begin where it should, and begins at the question instead.

        Args:
            path: The number of the path.
            parent: The path in which it should begin.
            depth: The number of observations that it should inherit.
        """
        self._paths[path] = _Path()
        decision = self.decisions.get((parent, depth))
        if decision is not None and decision.branches:
            left = decision.branches - 1
            why = decision.stopped_by if left else "environment"
            self.decisions[parent, depth] = replace(decision, branches=left, stopped_by=why)

    def fill(
        self,
        call_entropies: Sequence[Sequence[float | None]],
        rewards: Sequence[float | None],
        call_probabilities: Sequence[Sequence[float | None]] | None = None,
    ) -> list[Start]:
        """Begin the missing paths: inside ended paths where the rules say so, the rest at the question.

        Args:
            call_entropies: For each path, the mean entropy of the call tokens before each of its own observations, in
                nats; None if the rules do not need it.
            rewards: The rewards, one per path; None if the rules do not need them.
            call_probabilities: The same as `call_entropies` of the mean probability of the call tokens; None if the
                rules do not need it.
        """
        self.stage = Stage.FINISHING
        unknown: list[list[float | None]] = [[None] * len(own) for own in call_entropies]
        ended = [
            Ended(number, self._steps(number, entropies, probabilities), reward)
            for number, (entropies, probabilities, reward) in enumerate(
                zip(call_entropies, call_probabilities or unknown, rewards, strict=True)
            )
        ]
        restarts = self.rules.restarts(ended, self._left(), self._mean_observations(self._paths))
        starts = [self._restart(restart) for restart in restarts]
        return starts + [self._start(Origin.LEFTOVER) for _ in range(self._left())]

    def _left(self) -> int:
        """The number of paths that are missing from k."""
        return self.rules.group_size - len(self._paths)

    def _due(self) -> list[Start]:
        """Take every decision that is due."""
        starts: list[Start] = []
        if self.stage is Stage.PROBING and all(probe.ended for probe in self._probes()):
            starts += self._end_probing()
        while self.stage is Stage.BRANCHING and self._all_shown(self._decided + 1):
            self._decided += 1
            starts += self._branch(self._decided)
        return starts

    def _end_probing(self) -> list[Start]:
        """Fix m, and begin global samples until there are m."""
        gaps = [self._gap(number) for number in range(len(self._probes()))]
        self.gap = sum(gaps) / len(gaps) if gaps else None
        self.global_samples = self.rules.global_samples(self.gap, self._state)
        self.stage = Stage.BRANCHING
        return [self._start(Origin.GLOBAL) for _ in range(self.global_samples - len(self._paths))]

    def _gap(self, probe: int) -> float:
        """H_root - mean H_tool of a probe; 0 if it called no tool."""
        after = [by_path[probe] for by_path in self._entropies.values() if probe in by_path]
        return self._paths[probe].root_entropy - sum(after) / len(after) if after else 0.0

    def _all_shown(self, number: int) -> bool:
        """Whether each path has shown its entropy after observation `number` or ended, and at least one has done so."""
        return number in self._entropies and all(path.ended or path.observed >= number for path in self._paths)

    def _branch(self, number: int) -> list[Start]:
        """Decide about all observations of this number, and begin the branches."""
        paths = sorted(self._entropies[number])
        candidates = [
            Candidate(
                path=path,
                entropy=self._entropies[number][path],
                root_entropy=self._paths[path].root_entropy,
                consecutive=self._paths[path].consecutive,
                uniform=uniform(self._noise(path), -number),
            )
            for path in paths
        ]
        decisions = self.rules.decide(
            candidates,
            number,
            self._branches,
            self.rules.group_size - self.global_samples,
            # Only probes count, because the observations that other paths have so far depend on the speed of their
            # tools.
            self._mean_observations(self._probes()),
            self._state,
        )
        starts: list[Start] = []
        for path, decision in zip(paths, decisions, strict=True):
            self.decisions[path, number] = decision
            counts = self.rules.in_streak(decision)
            self._paths[path].consecutive = streak(self._paths[path].consecutive, counts)
            starts += [self._start(Origin.BRANCH, path, number) for _ in range(decision.branches)]
        self._branches += len(starts)
        return starts

    def _steps(
        self, path: int, call_entropies: Sequence[float | None], call_probabilities: Sequence[float | None]
    ) -> list[Step]:
        """A path's own turns with calls, for the rules."""
        values = zip(call_entropies, call_probabilities, strict=True)
        return [
            Step(number, uniform(self._noise(path), -number), self.decisions.get((path, number)), entropy, probability)
            for number, (entropy, probability) in enumerate(values, self._paths[path].depth + 1)
        ]

    def _restart(self, restart: Restart) -> Start:
        """Begin a path inside one that has ended."""
        if restart.before_call:
            return self._start(Origin.RESAMPLED, restart.path, restart.observation - 1, restart.inside_call)
        decision = self.decisions.get((restart.path, restart.observation))
        if decision is not None:
            changed = replace(decision, branches=decision.branches + 1, stopped_by=None)
            self.decisions[restart.path, restart.observation] = changed
        return self._start(Origin.BRANCH, restart.path, restart.observation)

    def _start(self, origin: Origin, parent: int | None = None, depth: int = 0, inside_call: bool = False) -> Start:
        consecutive = 0 if parent is None else self._paths[parent].consecutive
        self._paths.append(_Path(depth, depth, consecutive))
        # The gap needs the entropies of probes, even without branches. While the last slots fill, nothing can branch.
        watched = origin is Origin.PROBE or (self.rules.watches and self.stage is not Stage.FINISHING)
        return Start(origin, watched, parent, depth, inside_call)

    def _probes(self) -> list[_Path]:
        return self._paths[: self.rules.probes]

    def _mean_observations(self, ended: Sequence[_Path]) -> float:
        """T; in the first step of a run the mean over `ended`, or 1 if there are none."""
        if self._state.mean_observations is not None:
            return max(1.0, self._state.mean_observations)
        return max(1.0, sum(path.observed for path in ended) / max(1, len(ended)))
