"""Samples batches with a fixed policy, and takes the gradient of each method on them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf

import torch
from torch import Tensor

from aepo.algorithms.base import Algorithm
from aepo.config import TrainConfig
from aepo.core.exploration import Exploration, ExplorationState
from aepo.gradient.methods import GradientMethod, without_std
from aepo.gradient.sketch import sketch
from aepo.process import event_loop
from aepo.rollout.agent import Agent
from aepo.rollout.explorer import Seeds, executed_calls, explore
from aepo.rollout.growing import Scorer
from aepo.training.batch import flat_batch
from aepo.training.metrics import exploration_update
from aepo.training.step import Learner, TrainablePolicy, accumulate
from aepo.types import Group, Kind, Sample

ADVANTAGES = ("reward", "group std")
"""Advantages without and with the division by the group's std."""
SPACES = ("plain", "adam")
"""The gradient as it is, and each entry by its root mean square, as Adam scales it."""
DAMPING = 0.01
"""Added to the mean square of each entry, as a share of their mean: entries that the pilot did not see must not count
most."""


@dataclass(frozen=True)
class Amount:
    """How much is sampled.

    Attributes:
        batches: Batches of each method.
        reference: Batches of the reference.
        pilot: Batches before, for entropy scales and Adam's; they are not measured.
        questions: Questions of a batch.
        minutes: The measurement ends after the batch that reaches them.
        seed: The seed of questions and tokens.
        advantages: Kinds of advantages, of `ADVANTAGES`; one alone takes half of the time.
    """

    batches: int = 40
    reference: int = 40
    pilot: int = 3
    questions: int = 32
    minutes: float = inf
    seed: int = 0
    advantages: tuple[str, ...] = ADVANTAGES


@dataclass
class Gradients:
    """Sketches of gradients, one a batch.

    Attributes:
        gradients: By advantages, space and method.
        reference: By advantages and space.
        calls: Executed calls of each batch, by method.
        tokens: Sampled tokens of each batch, by method.
    """

    gradients: dict[tuple[str, str, str], list[Tensor]] = field(default_factory=dict)
    reference: dict[tuple[str, str], list[Tensor]] = field(default_factory=dict)
    calls: dict[str, list[int]] = field(default_factory=dict)
    tokens: dict[str, list[int]] = field(default_factory=dict)

    @property
    def batches(self) -> int:
        """Batches of each method."""
        return min((len(found) for found in self.calls.values()), default=0)


@dataclass(frozen=True)
class Instrument:
    """The parts of a measurement.

    Attributes:
        policy: The fixed policy.
        agent: Makes the agent of an algorithm.
        scorer: Scores trajectories.
        questions: Questions to draw from.
        settings: Layout and size of a forward pass.
        pad_token_id: The id of the padding token.
        max_tokens: Limit of a trajectory.
        temperature: The temperature of sampling.
        vocab_size: V, for the entropy scales.
        amount: How much is sampled.
        tell: Called with one line after each round.
    """

    policy: TrainablePolicy
    agent: Callable[[Algorithm], Agent]
    scorer: Scorer
    questions: Sequence[Sample]
    settings: TrainConfig
    pad_token_id: int
    max_tokens: int
    temperature: float
    vocab_size: int
    amount: Amount
    tell: Callable[[str], None]

    def measure(self, methods: Sequence[GradientMethod]) -> Gradients:
        """Sample batches in rounds, one of each rollout and one of the reference, until all are there or time is over.

        Methods whose rollouts have equal rules share their batches. The first method is the reference, on batches of
        its own. In a round all methods are asked the same questions, the reference others.

        Raises:
            ValueError: Time was too short for two batches of each.
        """
        end = time.monotonic() + 60 * self.amount.minutes
        rollouts = _Rollouts(self, methods)
        rollouts.warm_up()
        scale = self._adam_scale(rollouts, methods[0])
        found = Gradients()
        for number in range(max(self.amount.batches, self.amount.reference)):
            if number < self.amount.reference:
                groups = rollouts.sample(methods[0], f"reference {number}", f"reference questions {number}")
                for key, vector in self._gradients(groups, methods[0].algorithm, scale).items():
                    found.reference.setdefault(key, []).append(vector)
            if number < self.amount.batches:
                self._round(rollouts, methods, number, scale, found)
            self.tell(f"{number + 1} of {self.amount.batches} batches of each method")
            if time.monotonic() > end:
                break
        if found.batches < 2 or min(map(len, found.reference.values())) < 2:
            raise ValueError(f"{self.amount.minutes} minutes were too short for two batches of each method: give more")
        return found

    def _round(
        self,
        rollouts: _Rollouts,
        methods: Sequence[GradientMethod],
        number: int,
        scale: dict[str, Tensor],
        found: Gradients,
    ) -> None:
        sampled: dict[int, list[Group]] = {}
        for method in methods:
            kind = rollouts.kind(method)
            if kind not in sampled:
                sampled[kind] = rollouts.sample(method, f"batch {number} of {kind}", f"questions {number}")
            groups = sampled[kind]
            for (advantages, space), vector in self._gradients(groups, method.algorithm, scale).items():
                found.gradients.setdefault((advantages, space, method.label), []).append(vector)
            found.calls.setdefault(method.label, []).append(sum(executed_calls(group.tree) for group in groups))
            found.tokens.setdefault(method.label, []).append(sum(map(sampled_tokens, groups)))

    def _adam_scale(self, rollouts: _Rollouts, first: GradientMethod) -> dict[str, Tensor]:
        """1 / root mean square of each entry of the first method's gradient, by advantages."""
        squares: dict[str, Tensor] = {}
        for groups in rollouts.pilot:
            for advantages, gradient in self._whole(groups, first.algorithm).items():
                squares[advantages] = squares.get(advantages, 0.0) + gradient.square() / len(rollouts.pilot)
        return {name: (square + DAMPING * square.mean() + 1e-30).rsqrt() for name, square in squares.items()}

    def _gradients(
        self, groups: Sequence[Group], algorithm: Algorithm, scale: dict[str, Tensor]
    ) -> dict[tuple[str, str], Tensor]:
        """Sketches of the gradient of a batch, by advantages and space."""
        found = {}
        for advantages, gradient in self._whole(groups, algorithm).items():
            found[advantages, "plain"] = sketch(gradient)
            found[advantages, "adam"] = sketch(gradient * scale[advantages])
        return found

    def _whole(self, groups: Sequence[Group], algorithm: Algorithm) -> dict[str, Tensor]:
        """The gradient of a batch, by advantages: sums over the tokens of a trajectory, mean over trajectories."""
        kinds = {"reward": without_std(algorithm), "group std": algorithm}
        asked = self.amount.advantages
        return {
            name: self._gradient(groups, kind) for name, kind in kinds.items() if kind is not None and name in asked
        }

    def _gradient(self, groups: Sequence[Group], algorithm: Algorithm) -> Tensor:
        summed = algorithm.model_copy(update={"aggregation": "seq-mean-token-sum"})
        parameters = [parameter for parameter in self.policy.parameters() if parameter.requires_grad]
        for parameter in parameters:
            parameter.grad = None
        optimizer = torch.optim.SGD(parameters, lr=0.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        learner = Learner(self.policy, optimizer, schedule, summed, self.settings, self.temperature)
        accumulate(learner, flat_batch(groups, summed, self.pad_token_id, self.max_tokens))
        zeros = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        gradient = torch.cat([grad.detach().flatten().float() for grad in zeros])
        for parameter in parameters:
            parameter.grad = None
        return gradient


class _Rollouts:
    """Samples groups by each method's rules, with entropy scales that the pilot has set.

    Attributes:
        pilot: The groups of the pilot of the first method.
    """

    def __init__(self, instrument: Instrument, methods: Sequence[GradientMethod]) -> None:
        self.instrument, self.methods = instrument, methods
        self.pilot: list[list[Group]] = []
        self._rules: list[Exploration] = []
        self._kinds: dict[str, int] = {}
        for method in methods:
            rules = method.algorithm.exploration()
            if rules not in self._rules:
                self._rules.append(rules)
            self._kinds[method.label] = self._rules.index(rules)
        self._states: list[ExplorationState] = [rules.initial_state(instrument.vocab_size) for rules in self._rules]
        self._agents = [self._agent(kind) for kind in range(len(self._rules))]

    def kind(self, method: GradientMethod) -> int:
        """The number of the method's rules of the rollout."""
        return self._kinds[method.label]

    def warm_up(self) -> None:
        """Sample the pilot: the entropy scales of each rule, and batches of the first method."""
        for number in range(self.instrument.amount.pilot):
            for kind, rules in enumerate(self._rules):
                name = f"pilot {number}"
                groups = self._sample(kind, f"{name} of {kind}", name)
                self._states[kind] = exploration_update(groups, self._states[kind])
                if rules is self._rules[self.kind(self.methods[0])]:
                    self.pilot.append(groups)

    def sample(self, method: GradientMethod, step: str, questions: str) -> list[Group]:
        """The scored groups of a batch."""
        return self._sample(self.kind(method), step, questions)

    def _sample(self, kind: int, step: str, questions: str) -> list[Group]:
        instrument = self.instrument
        rng = random.Random(f"gradient {instrument.amount.seed} {questions}")
        asked = rng.sample(list(instrument.questions), min(instrument.amount.questions, len(instrument.questions)))
        seeds = Seeds(instrument.amount.seed, f"gradient {step}")
        rules, state = self._rules[kind], self._states[kind]
        return event_loop.run(explore, asked, self._agents[kind], rules, state, seeds, instrument.scorer)

    def _agent(self, kind: int) -> Agent:
        """The agent of a rollout, with the entropies that any of its methods reads."""
        mine = [method.algorithm for method in self.methods if self.kind(method) == kind]
        return self.instrument.agent(next((one for one in mine if one.needs_every_entropy), mine[0]))


def sampled_tokens(group: Group) -> int:
    """Tokens that the policy wrote; shared ones count once."""
    return sum(len(node.tokens) for node in group.tree.nodes if node.kind is Kind.POLICY)
