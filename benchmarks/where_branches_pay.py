"""Where branches pay, without any training: the chance of a mixed outcome at each place, and what each rule finds.

For each question some trajectories start independently. After every observation of each, fresh continuations are
sampled: so the success probability p of every place is known, up to noise. Then each rule chooses places on the same
trajectories, and is scored:

- v: the chance 2 p (1 - p) that two continuations end differently, mean over its places, without bias;
- v a call: sum of v by the calls that the continuations still make, plus 0.3 each: one without a call is not free;
- v a 1,000 tokens: the same by the tokens that they write;
- d: the chance that a continuation ends differently than the trajectory that it branches from. A rule that looks at
  rewards is better judged by d: it chooses the place by one of the two outcomes.

Intervals are a bootstrap over questions. Rules that learn are fitted on the other half of the questions. The oracle
knows the measured v, so it profits from chance; "by half" chooses by every other continuation, and is scored by the
rest.

    python benchmarks/where_branches_pay.py                                         # atlas at the warm start
    python benchmarks/where_branches_pay.py model.path=runs/grpo/checkpoints/step-000025 --rows step-25.json
    python benchmarks/where_branches_pay.py --read step-25.json                     # the table again

On two quiet cores it ends by itself in under 15 minutes (`--minutes`); then the questions until there count.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

from aepo import tasks
from aepo.assembly.parts import build
from aepo.config import Config, load
from aepo.core.branching import hindsight_score
from aepo.core.entropy_branching import BalancedBranchSettings, EntropyBranching
from aepo.core.exploration import Candidate, Ended, ExplorationState, IndependentSamples, Restart
from aepo.core.noise import noise_key, uniform
from aepo.equipment.models import started_from
from aepo.equipment.tools import equip
from aepo.process import event_loop
from aepo.rollout.explorer import Seeds, explore
from aepo.terminal.table import show
from aepo.training.loop import Parts
from aepo.types import SUCCESS, Group, Kind, Origin, Sample

GLOBAL, CONTINUATIONS, FEWEST = 8, 12, 6
"""Independent trajectories of a question, continuations of a place, and the fewest with which a place counts."""
PATHS, SLOTS = 4, 4
"""Trajectories that a rule chooses on, and places that it chooses."""
DRAWS = 8
"""Draws of a question's trajectories, for all rules the same."""
IDLE = 0.3
"""What a continuation costs besides its calls, in calls."""
HEAD = ["rule", "places", "calls left", "v [95 %]", "v a call [95 %]", "v by random [95 %]", "a call by random [95 %]"]
HEAD += ["v a 1,000 tokens", "d", "d a call"]


@dataclass(frozen=True)
class Probe(IndependentSamples):
    """Independent trajectories; when they have ended, each of their places gets as many continuations."""

    watches = True

    def head_start(self) -> int:
        return GLOBAL

    def restarts(self, ended: Sequence[Ended], slots: int, mean_observations: float) -> list[Restart]:
        places = [Restart(e.path, step.observation) for e in ended for step in e.steps if step.decision is not None]
        return [place for place in places for _ in range(CONTINUATIONS)][:slots]


@dataclass(frozen=True)
class Place:
    """A place after an observation, with what its continuations did.

    Attributes:
        question: The question's number.
        path: The trajectory's number.
        number: i, the observation's number, from 1.
        observations: Observations of the whole trajectory.
        entropy: H_t after the observation, in nats.
        root_entropy: H_root of the trajectory, in nats.
        succeeded: Whether the trajectory itself succeeded.
        outcomes: Whether each continuation succeeded.
        calls: Calls that a continuation still makes, mean.
        tokens: Tokens that it writes, mean.
    """

    question: int
    path: int
    number: int
    observations: int
    entropy: float
    root_entropy: float
    succeeded: bool
    outcomes: Sequence[bool]
    calls: float
    tokens: float

    @property
    def p(self) -> float:
        """The chance of success from here on."""
        return sum(self.outcomes) / len(self.outcomes)

    @property
    def v(self) -> float:
        """2 p (1 - p) without bias."""
        return 2 * self.p * (1 - self.p) * len(self.outcomes) / (len(self.outcomes) - 1)

    @property
    def d(self) -> float:
        """The chance that a continuation ends differently than the trajectory itself."""
        return 1 - self.p if self.succeeded else self.p


LIMITS = {"quickstart": ["rollout.max_tool_calls=4"]}
"""Settings that the comparisons in docs/results.md have and the configuration has not."""

Rule = Callable[[Sequence[Place], random.Random], list[Place]]
"""Chooses places of one question's trajectories."""


def places_of(group: Group, question: int) -> list[Place]:
    """The places of one question's tree."""
    tree = group.tree
    leaves = {leaf.path: leaf for leaf in tree.leaves}
    fresh: dict[tuple[int, int], list[tuple[bool, int, int]]] = defaultdict(list)
    for leaf in tree.leaves:
        if leaf.origin is Origin.BRANCH and leaf.parent_path is not None:
            own = [node for node in tree.walk(leaf.node) if node.path == leaf.path]
            fresh[leaf.parent_path, leaf.depth].append(
                (
                    (leaf.reward or 0.0) >= SUCCESS,
                    sum(len(node.results) for node in own),
                    sum(len(node.tokens) for node in own if node.kind is Kind.POLICY),
                )
            )
    found = []
    for path, leaf in leaves.items():
        seen = [node for node in tree.walk(leaf.node) if node.results]
        for number, node in enumerate(seen, 1):
            ends = fresh.get((path, number), [])
            if leaf.origin is Origin.GLOBAL and node.decision is not None and len(ends) >= FEWEST:
                found.append(
                    Place(
                        question,
                        path,
                        number,
                        len(seen),
                        node.decision.entropy,
                        leaf.root_entropy,
                        (leaf.reward or 0.0) >= SUCCESS,
                        [success for success, _, _ in ends],
                        fmean(calls for _, calls, _ in ends),
                        fmean(tokens for _, _, tokens in ends),
                    )
                )
    return found


def sampled(config: Config, questions: int, minutes: float) -> list[Place]:
    """Places of held-out questions of the configuration's task, or of its training questions if it has none."""
    config = started_from(config)
    task = tasks.load(config.task.name, config.task.options)
    equipment = equip(config, task.tools)
    _, parts = build(config, equipment.of(task), equipment.budget)
    found: list[Place] = []
    end = time.monotonic() + 60 * minutes
    with equipment.in_use(Path(config.run)):
        for number, sample in enumerate((task.held_out or task.samples)[:questions]):
            found += places_of(_grown(parts, sample, config.seed), number)
            if time.monotonic() > end:
                print(f"time is over after {number + 1} questions", flush=True)
                break
    return found


def _grown(parts: Parts, sample: Sample, seed: int) -> Group:
    """The question's trajectories with all continuations.

    They are sampled twice, first alone, which tells how many continuations there will be. A group has a fixed size, and
    slots that are left would start from the question.
    """

    def grow(size: int) -> Group:
        rules = Probe(size)
        state = rules.initial_state(parts.vocab_size)
        seeds = Seeds(seed, "where branches pay")
        (group,) = event_loop.run(explore, [sample], parts.agent, rules, state, seeds, parts.scorer)
        return group

    alone = grow(GLOBAL)
    count = sum(node.decision is not None for node in alone.tree.nodes)
    return grow(GLOBAL + CONTINUATIONS * count)


def best(score: Callable[[Place], float]) -> Rule:
    """The places of highest score; equal ones by chance."""

    def rule(places: Sequence[Place], rng: random.Random) -> list[Place]:
        return sorted(places, key=lambda place: (-score(place), rng.random()))[:SLOTS]

    return rule


def by_rules(settings: BalancedBranchSettings, state: ExplorationState) -> Rule:
    """AEPO's and ARPO's own decisions, online, with budget and pacing."""
    rules = EntropyBranching(PATHS + SLOTS, settings)
    mean = max(1.0, state.mean_observations or 1.0)

    def rule(places: Sequence[Place], rng: random.Random) -> list[Place]:
        chosen: list[Place] = []
        streak: dict[int, int] = defaultdict(int)
        key = rng.randrange(1 << 30)
        for number in sorted({place.number for place in places}):
            here = [place for place in places if place.number == number]
            candidates = [
                Candidate(p.path, p.entropy, p.root_entropy, streak[p.path], uniform(noise_key(key, p.path), -number))
                for p in here
            ]
            decisions = rules.decide(candidates, number, len(chosen), SLOTS, mean, state)
            for place, decision in zip(here, decisions, strict=True):
                streak[place.path] = streak[place.path] + 1 if rules.in_streak(decision) else 0
                chosen += [place] * decision.branches
        return chosen

    return rule


def by_half(score: Callable[[Place], float]) -> Rule:
    """As `best`, by every other continuation; the places that it returns have the other ones."""

    def rule(places: Sequence[Place], rng: random.Random) -> list[Place]:
        shown = {id(place): replace(place, outcomes=place.outcomes[::2]) for place in places}
        chosen = best(lambda place: score(shown[id(place)]))(places, rng)
        return [replace(place, outcomes=place.outcomes[1::2]) for place in chosen]

    return rule


def deep_grpo(train: Sequence[Place]) -> Rule:
    """DEEP-GRPO (arXiv 2602.14169): failures only; P ~ sigma(w z + b) z^2, z = i / T, fitted on (z, any success)."""
    failures = [place for place in train if not place.succeeded]
    w = b = 0.0
    for _ in range(300):
        errors = [
            (
                _sigmoid(w * place.number / place.observations + b) - any(place.outcomes),
                place.number / place.observations,
            )
            for place in failures
        ]
        if errors:
            w -= fmean(error * z for error, z in errors)
            b -= fmean(error for error, _ in errors)

    def rule(places: Sequence[Place], rng: random.Random) -> list[Place]:
        left, chosen = [place for place in places if not place.succeeded], []
        while left and len(chosen) < SLOTS:
            zs = [place.number / place.observations for place in left]
            chosen.append(left.pop(rng.choices(range(len(left)), [_sigmoid(w * z + b) * z**2 for z in zs])[0]))
        return chosen

    return rule


def table(train: Sequence[Place]) -> tuple[Callable[[Place], float], Callable[[Place], float]]:
    """Fit p and remaining calls by tenth of entropy and third of depth, shrunk to the mean by 10 places."""
    bounds = sorted(place.entropy for place in train)
    mean = max(1.0, fmean(place.observations for place in train))
    whole = fmean(place.p for place in train), fmean(place.calls for place in train)
    kept: dict[tuple[int, int], list[Place]] = defaultdict(list)

    def key(place: Place) -> tuple[int, int]:
        return tenth(bounds, place.entropy), min(2, int(3 * (place.number - 1) / mean))

    for place in train:
        kept[key(place)].append(place)

    def shrunk(values: Iterable[float], prior: float) -> float:
        numbers = list(values)
        return (sum(numbers) + 10 * prior) / (len(numbers) + 10)

    p = {at: shrunk((place.p for place in mine), whole[0]) for at, mine in kept.items()}
    calls = {at: shrunk((place.calls for place in mine), whole[1]) for at, mine in kept.items()}
    return lambda place: p.get(key(place), whole[0]), lambda place: calls.get(key(place), whole[1])


def contrast(train: Sequence[Place], by_source: bool) -> Rule:
    """The chance of a different outcome from the table: two fresh ones, or one against its source, a remaining call."""
    p, calls = table(train)
    if not by_source:
        return best(lambda place: 2 * p(place) * (1 - p(place)))
    return best(lambda place: (1 - p(place) if place.succeeded else p(place)) / (1 + calls(place)))


def hindsight(settings: BalancedBranchSettings, state: ExplorationState) -> Rule:
    """AEPO's rule in retrospect: the best P, with the bonus for late observations."""
    rules = EntropyBranching(PATHS + SLOTS, settings)
    mean = max(1.0, state.mean_observations or 1.0)

    def score(place: Place) -> float:
        candidate = Candidate(place.path, place.entropy, place.root_entropy, 0, 0.0)
        (decision,) = rules.decide([candidate], place.number, 0, SLOTS, mean, state)
        return hindsight_score(decision.probability, place.number, mean, settings.depth_bonus)

    return best(score)


def state_of(train: Sequence[Place], settings: BalancedBranchSettings) -> ExplorationState:
    """The entropy scale that a run would have after many steps like these questions."""
    state = EntropyBranching(PATHS + SLOTS, settings).initial_state(vocab_size=1 << 17)
    lengths = {(place.question, place.path): float(place.observations) for place in train}
    return state.updated([], [place.entropy - place.root_entropy for place in train], list(lengths.values()))


def rules_of(train: Sequence[Place]) -> dict[str, Rule]:
    """All rules; those that learn are fitted on `train`."""
    aepo = BalancedBranchSettings(dynamic_budget=False)
    arpo = BalancedBranchSettings(dynamic_budget=False, penalty=0.0, pacing="none")
    late = BalancedBranchSettings(dynamic_budget=False, branch_time="retrospective")
    return {
        "random": best(lambda place: 0.0),
        "AEPO's rule, with pacing": by_rules(aepo, state_of(train, aepo)),
        "AEPO's rule, in retrospect": hindsight(late, state_of(train, late)),
        "ARPO's rule": by_rules(arpo, state_of(train, arpo)),
        "highest entropy": best(lambda place: place.entropy),
        "lowest entropy": best(lambda place: -place.entropy),
        "first observation": best(lambda place: -place.number),
        "last observation": best(lambda place: place.number - place.observations),
        "failures by depth (DEEP-GRPO)": deep_grpo(train),
        "contrast, two fresh": contrast(train, by_source=False),
        "contrast, against the source, a call": contrast(train, by_source=True),
        "oracle, v": best(lambda place: place.v),
        "oracle, v, by half": by_half(lambda place: place.v),
        "oracle, v a call": best(lambda place: place.v / (place.calls + IDLE)),
        "oracle, v a call, by half": by_half(lambda place: place.v / (place.calls + IDLE)),
    }


def chosen_by_question(places: Sequence[Place], repeats: int = DRAWS) -> dict[str, dict[int, list[Place]]]:
    """What each rule chooses for each question, over several draws of its trajectories."""
    numbers = sorted({place.question for place in places})
    half = set(random.Random("halves").sample(numbers, len(numbers) // 2))
    found: dict[str, dict[int, list[Place]]] = defaultdict(lambda: defaultdict(list))
    for tested in (half, set(numbers) - half):
        rules = rules_of([place for place in places if place.question not in tested])
        for question in sorted(tested):
            mine = [place for place in places if place.question == question]
            paths = sorted({place.path for place in mine})
            for draw in range(repeats):
                rng = random.Random(f"{question} {draw}")
                taken = set(rng.sample(paths, min(PATHS, len(paths))))
                offered = [place for place in mine if place.path in taken]
                for name, rule in rules.items():
                    # Each rule has the same chance.
                    found[name][question] += rule(offered, random.Random(f"{question} {draw} rule"))
    return found


@dataclass(frozen=True)
class Figures:
    """What places are worth.

    Attributes:
        v: Mean of v.
        v_call: Sum of v by the calls that follow.
        v_tokens: The same by 1,000 tokens that follow.
        d: Mean of d.
        d_call: Sum of d by the calls that follow.
    """

    v: float = 0.0
    v_call: float = 0.0
    v_tokens: float = 0.0
    d: float = 0.0
    d_call: float = 0.0


def figures(chosen: Iterable[Place]) -> Figures:
    """The worth of places; 0 of no place."""
    places = list(chosen)
    if not places:
        return Figures()
    v, d = sum(place.v for place in places), sum(place.d for place in places)
    calls = sum(place.calls + IDLE for place in places)
    tokens = sum(place.tokens for place in places)
    return Figures(v / len(places), v / calls, 1000 * v / max(tokens, 1.0), d / len(places), d / calls)


def lines(chosen: dict[str, dict[int, list[Place]]], draws: int = 300) -> list[list[str]]:
    """The table of rules; intervals are a bootstrap over questions, the same draws for all rules."""
    numbers = sorted({question for by_question in chosen.values() for question in by_question})
    rng = random.Random("bootstrap")
    drawn = [rng.choices(numbers, k=len(numbers)) for _ in range(draws)]
    found = [HEAD]

    def of(name: str, questions: Sequence[int]) -> Figures:
        return figures(place for question in questions for place in chosen[name].get(question, []))

    blind, blindly = of("random", numbers), [of("random", questions) for questions in drawn]
    for name, by_question in chosen.items():
        places = [place for mine in by_question.values() for place in mine]
        mine, again = of(name, numbers), [of(name, questions) for questions in drawn]
        pairs = list(zip(again, blindly, strict=True))
        found.append(
            [
                name,
                f"{len(places) / len(numbers) / DRAWS:.1f}",
                f"{fmean(place.calls for place in places):.2f}" if places else "-",
                f"{mine.v:.3f} {_interval([one.v for one in again])}",
                f"{mine.v_call:.3f} {_interval([one.v_call for one in again])}",
                f"{_ratio(mine.v, blind.v):.2f} {_interval([_ratio(one.v, other.v) for one, other in pairs])}",
                f"{_ratio(mine.v_call, blind.v_call):.2f} "
                f"{_interval([_ratio(one.v_call, other.v_call) for one, other in pairs])}",
                f"{mine.v_tokens:.2f}",
                f"{mine.d:.3f}",
                f"{mine.d_call:.3f}",
            ]
        )
    return found


def tenths(places: Sequence[Place]) -> list[list[str]]:
    """Show p and v by tenth of entropy: the mean of p (1 - p) is not p (1 - p) of the mean."""
    bounds = sorted(place.entropy for place in places)
    found = [["tenth of entropy, lowest first", "places", "entropy", "p", "v", "2 p (1 - p) of the mean"]]
    for number in range(10):
        mine = [place for place in places if tenth(bounds, place.entropy) == number]
        if mine:
            p = fmean(place.p for place in mine)
            row = [fmean(place.entropy for place in mine), p, fmean(place.v for place in mine), 2 * p * (1 - p)]
            found.append([str(number + 1), str(len(mine)), *(f"{value:.3f}" for value in row)])
    return found


def tenth(bounds: Sequence[float], entropy: float) -> int:
    """The tenth, from 0, of sorted entropies that this one is in."""
    return min(9, bisect(bounds, entropy) * 10 // max(1, len(bounds)))


def _ratio(one: float, other: float) -> float:
    return one / other if other > 0 else math.nan


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _interval(values: Sequence[float]) -> str:
    ordered = sorted(value for value in values if not math.isnan(value))
    if not ordered:
        return "[?, ?]"
    low, high = ordered[int(0.025 * (len(ordered) - 1))], ordered[math.ceil(0.975 * (len(ordered) - 1))]
    return f"[{low:.3f}, {high:.3f}]" if high < 1 else f"[{low:.2f}, {high:.2f}]"


def main() -> None:
    """Sample or read, then print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    options.add_argument("--config", default="quickstart")
    options.add_argument("--questions", type=int, default=90)
    options.add_argument("--minutes", type=float, default=13.0)
    options.add_argument("--rows", type=Path, help="JSON file for the places")
    options.add_argument("--read", type=Path, help="places of an earlier call")
    given = options.parse_args()
    if given.read is not None:
        places = [Place(**row) for row in json.loads(given.read.read_text(encoding="utf-8"))]
    else:
        # Which algorithm is named does not matter, but this one has all entropies measured.
        fixed = ["task.options.split=validation", "algorithm.name=aepo", *LIMITS.get(given.config, [])]
        config = load(given.config, [*fixed, *given.overrides])
        places = sampled(config, given.questions, given.minutes)
    if given.rows is not None:
        given.rows.write_text(json.dumps([asdict(place) for place in places]) + "\n", encoding="utf-8")
    if len({place.question for place in places}) < 4:
        raise SystemExit("fewer than four questions had a place with enough continuations: ask more")
    questions = len({place.question for place in places})
    note = f"{len(places)} places of {questions} questions, {CONTINUATIONS} continuations each"
    show([lines(chosen_by_question(places)), tenths(places)], [note])


if __name__ == "__main__":
    main()
