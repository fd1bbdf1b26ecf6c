"""How the cost of a step grows with k, depth, length and model size: four sizes of each, the others at their middle.

The trees are made up: of each question's k trajectories all begin at the question (independent), or half of them branch
after an observation of another, spread over its turns (branched). Rollout is the engine alone on these trees, training
one optimizer step on them; on the branched ones also with every trajectory whole (flat). Medians, in seconds; one table
and one picture.

    python benchmarks/scaling.py --threads 1 --out docs/scaling.png
"""

from __future__ import annotations

import argparse
import platform
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import torch
import transformers
from generate import random_model
from rollout_speed import grow
from tree_training import Trained, seconds

from aepo.algorithms import AEPO
from aepo.config import Layout
from aepo.engines.local import GeneratorSettings, LocalGenerator
from aepo.engines.local.logprobs import ModelLogprobs
from aepo.training.batch import flat_batch
from aepo.types import Group, Kind, Leaf, Origin, Sample, StopReason, TrajectoryTree

PROMPT = 32
MICRO_BATCH_TOKENS = 8192
CURVES = ("rollout, independent", "rollout, branched", "training, independent", "training, branched", "training, flat")


@dataclass(frozen=True)
class Size:
    """One point.

    Attributes:
        k: Trajectories a question.
        turns: Turns of a trajectory, each but the last followed by an observation.
        length: Tokens of a turn, and of an observation.
        hidden: Width of the model, which has four layers.
    """

    k: int = 8
    turns: int = 4
    length: int = 24
    hidden: int = 192


AXES: dict[str, tuple[str, tuple[int, ...]]] = {
    "k": ("trajectories a question", (4, 8, 16, 32)),
    "turns": ("turns a trajectory", (2, 4, 8, 16)),
    "length": ("tokens a turn", (12, 24, 48, 96)),
    "hidden": ("width of the model", (128, 192, 384, 576)),
}


def made_up(size: Size, branched: bool, vocabulary: int, number: int) -> Group:
    """A question and its trajectories, with random tokens and rewards."""
    chance = random.Random(number)
    tree = TrajectoryTree(global_samples=size.k)

    def add(parent: int | None, kind: Kind, length: int, path: int) -> int:
        node = tree.add(parent, kind, [chance.randrange(vocabulary) for _ in range(length)], path)
        if kind is Kind.POLICY:
            node.logprobs, node.entropies = [-1.0] * length, [1.0] * length
        return node.id

    root = add(None, Kind.PROMPT, PROMPT, 0)
    observed: list[list[int]] = []
    for path in range(size.k):
        branch = branched and path >= size.k // 2 and size.turns > 1
        source = observed[path - size.k // 2] if branch else []
        depth = 1 + path % (size.turns - 1) if branch else 0
        at = source[depth - 1] if branch else root
        mine = source[:depth]
        for turn in range(depth, size.turns):
            at = add(at, Kind.POLICY, size.length, path)
            if turn < size.turns - 1:
                at = add(at, Kind.OBSERVATION, size.length, path)
                mine.append(at)
        observed.append(mine)
        origin = Origin.BRANCH if branch else Origin.GLOBAL
        tree.leaves.append(Leaf(path, at, origin, StopReason.ANSWER, depth=depth, reward=float(chance.random() < 0.5)))
    return Group(Sample("?", id=str(number)), tree)


def measure(size: Size, questions: int, repetitions: int) -> list[float]:
    """Seconds of each of `CURVES`."""
    model, tokenizer = random_model(size.hidden)
    vocabulary = len(tokenizer)
    policy = Trained(ModelLogprobs(model, vocabulary))
    longest = PROMPT + (2 * size.turns - 1) * size.length
    engine = LocalGenerator(model, tokenizer, GeneratorSettings(max_sequences=questions * size.k, max_length=longest))
    kinds = [[made_up(size, branched, vocabulary, n) for n in range(questions)] for branched in (False, True)]

    def rollout(groups: list[Group]) -> Callable[[], float]:
        def run() -> float:
            began = time.perf_counter()
            anyio.run(grow, [group.tree for group in groups], engine)
            return time.perf_counter() - began

        return run

    def training(groups: list[Group], layout: Layout) -> Callable[[], float]:
        given = flat_batch(groups, AEPO(group_size=size.k), 0, longest)
        return lambda: seconds(policy, layout, given, MICRO_BATCH_TOKENS)

    independent, branched = kinds
    runs = [rollout(independent), rollout(branched)]
    runs += [training(independent, "tree"), training(branched, "tree"), training(branched, "flat")]
    times = [[run() for run in runs] for _ in range(repetitions + 1)]
    return [statistics.median(column) for column in zip(*times[1:], strict=True)]


def drawn(results: dict[str, list[tuple[int, list[float]]]], path: Path) -> None:
    """One panel an axis, both logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    # Okabe and Ito's colours, readable by the colour-blind.
    styles = [("#0072B2", "-"), ("#D55E00", "-"), ("#0072B2", "--"), ("#D55E00", "--"), ("#999999", ":")]
    figure, panels = pyplot.subplots(1, len(results), figsize=(3.2 * len(results), 3.6), sharey=True, squeeze=False)
    for panel, (axis, rows) in zip(panels[0], results.items(), strict=True):
        for curve, (colour, line), column in zip(CURVES, styles, zip(*(t for _, t in rows), strict=True), strict=True):
            panel.plot([at for at, _ in rows], column, line, color=colour, marker="o", markersize=3, label=curve)
        panel.set(xscale="log", yscale="log", xlabel=AXES[axis][0])
        panel.xaxis.set(major_locator=FixedLocator([at for at, _ in rows]), minor_locator=NullLocator())
        panel.xaxis.set_major_formatter(ScalarFormatter())
        panel.grid(alpha=0.3, which="both")
    panels[0][0].set_ylabel("seconds")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="lower center", ncol=len(CURVES), frameon=False)
    figure.tight_layout(rect=(0, 0.08, 1, 1))
    figure.savefig(path, dpi=120)


def main() -> None:
    """Measure, print one table, draw one picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=16)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--axes", nargs="+", choices=list(AXES), default=list(AXES))
    parser.add_argument("--out", type=Path, default=Path("scaling.png"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.questions} questions, {options.threads} thread(s), medians of {options.repetitions}", end="; ")
    print(f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}", end=", ")
    print(f"transformers {transformers.__version__}; middle: {Size()}\n")
    print(f"{'axis':8}{'size':>6}" + "".join(f"{curve:>24}" for curve in CURVES))
    results: dict[str, list[tuple[int, list[float]]]] = {}
    for axis in options.axes:
        for at in AXES[axis][1]:
            taken = measure(replace(Size(), **{axis: at}), options.questions, options.repetitions)
            results.setdefault(axis, []).append((at, taken))
            print(f"{axis:8}{at:6d}" + "".join(f"{value:24.3f}" for value in taken), flush=True)
    drawn(results, options.out)


if __name__ == "__main__":
    main()
