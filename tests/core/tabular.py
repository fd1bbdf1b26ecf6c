"""A policy so small that every rollout can be listed with its probability: the true gradient is exact.

A trajectory is a first token, the observation of what it asked, and two more tokens; the reward is a table. A rollout
is some starts at the question, and branches right after observations, as a rule says. A branch repeats no token that
follows the observation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

FIRST = torch.tensor([0.3, -0.4], dtype=torch.float64)
SECOND = torch.tensor([[0.2, -0.1], [0.9, -0.5]], dtype=torch.float64)
THIRD = torch.tensor([[[2.5, 0.0], [0.1, 0.0]], [[0.3, 0.0], [0.0, 3.0]]], dtype=torch.float64)
REWARD = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 0.0]]], dtype=torch.float64)

Path = tuple[int, int, int]
Rule = Callable[[Path], bool]
"""Whether to branch after the observation of this path."""


@dataclass(frozen=True)
class Rollout:
    """One possible rollout.

    Attributes:
        probability: Its probability.
        paths: The trajectories.
        nodes: (B, 4): the node of prompt, first token with its observation, second, third.
    """

    probability: float
    paths: Sequence[Path]
    nodes: Tensor

    @property
    def rewards(self) -> Tensor:
        return torch.stack([REWARD[path] for path in self.paths])


def entropy(logits: Tensor) -> float:
    return float(torch.distributions.Categorical(logits=logits).entropy())


def start(path: Path) -> float:
    """The probability of a trajectory from the question."""
    return float(FIRST.softmax(0)[path[0]]) * after(path)


def after(path: Path) -> float:
    """The probability of what a trajectory writes after its observation."""
    return float(SECOND[path[0]].softmax(0)[path[1]] * THIRD[path[0], path[1]].softmax(0)[path[2]])


def score(path: Path) -> Tensor:
    """(3, 14): d ln p / d logits of each of the three tokens."""
    found = torch.zeros(3, 14, dtype=torch.float64)
    a, b, c = path
    for token, logits, at, chosen in (
        (0, FIRST, 0, a),
        (1, SECOND[a], 2 + 2 * a, b),
        (2, THIRD[a, b], 6 + 4 * a + 2 * b, c),
    ):
        found[token, at : at + 2] = -logits.softmax(0)
        found[token, at + chosen] += 1.0
    return found


PATHS: list[Path] = list(product((0, 1), repeat=3))
TRUE_GRADIENT = sum(start(path) * REWARD[path] * score(path).sum(0) for path in PATHS)
PREFIX, SUFFIX = slice(0, 2), slice(2, 14)


def rollouts(starts: int, rule: Rule, leftovers: bool = False) -> Iterator[Rollout]:
    """All rollouts: each start branches once if the rule says so; with `leftovers` the others start again."""
    for roots in product(PATHS, repeat=starts):
        chance = 1.0
        options: list[list[Path]] = []
        for root in roots:
            chance *= start(root)
            if rule(root):
                options.append([path for path in PATHS if path[0] == root[0]])
            elif leftovers:
                options.append(PATHS)
        branched = [number for number, root in enumerate(roots) if rule(root) or leftovers]
        for more in product(*options):
            probability, nodes = chance, [[0, 3 * n + 1, 3 * n + 2, 3 * n + 3] for n in range(starts)]
            for number, (root, path) in enumerate(zip(branched, more, strict=True)):
                inside = rule(roots[root])
                probability *= after(path) if inside else start(path)
                own = 3 * starts + 3 * number
                nodes.append([0, 3 * root + 1 if inside else own + 1, own + 2, own + 3])
            yield Rollout(probability, [*roots, *more], torch.tensor(nodes))


def expected(of: Iterator[Rollout], advantages: Callable[[Rollout], Tensor]) -> Tensor:
    """(14,): the expected gradient; `advantages` gives (B, 4), and rows are averaged."""
    total = torch.zeros(14, dtype=torch.float64)
    for rollout in of:
        advantages_BT = advantages(rollout)
        assert advantages_BT.shape == rollout.nodes.shape
        parts = [advantages_BT[row, 1:] @ score(path) for row, path in enumerate(rollout.paths)]
        total += rollout.probability * torch.stack(parts).mean(0)
    return total
