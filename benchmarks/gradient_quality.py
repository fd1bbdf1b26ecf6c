"""How good a gradient each method gives, at one fixed policy: direction, noise, signal a batch, a call and a token.

The question that five seeds of training cannot answer, in minutes: which settings spend executed calls best. The policy
is not trained. Each method's batches are sampled by its own rules; the reference is plain GRPO on batches of its own.
`aepo gradient` does the same for a configuration of yours. Methods: GRPO with several weights of entropy; independent
rollouts against AEPO's online and retrospective ones, and random placement; equal and path weights; group, sibling and
mixed credit.

    python benchmarks/gradient_quality.py                                    # atlas at the warm start
    python benchmarks/gradient_quality.py model.path=runs/grpo/checkpoints/step-000025 --only grpo,candidate,parts
    python benchmarks/gradient_quality.py --config house --out house.json
    python benchmarks/gradient_quality.py --validation                       # to choose settings of a training

On two quiet cores it ends by itself in under 15 minutes (`--minutes`); then the batches until there count.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from aepo.algorithms import AEPO, ARPO, GRPO
from aepo.algorithms.base import Algorithm
from aepo.config import load
from aepo.gradient.measure import ADVANTAGES, Amount
from aepo.gradient.methods import GradientMethod
from aepo.gradient.report import notes, rows, tables
from aepo.gradient.run import measure
from aepo.terminal.table import show

LIMITS = {"quickstart": ["rollout.max_tool_calls=4"]}
"""Settings that the comparisons in docs/results.md have and the configuration has not."""

Settings = dict[str, Any]

FIXED: Settings = {"dynamic_budget": False, "branch_penalty": False}
"""m is half of k, and branches in a row cost nothing: the rollouts differ in where they branch alone."""
PLAIN: Settings = {"entropy_weight": 0.0}
WEIGHED: Settings = {"leaf_weights": "path", "credit": "mixed"}
METHODS: dict[str, dict[str, tuple[type[Algorithm], Settings]]] = {
    "grpo": {f"grpo {weight:+}": (GRPO, {"entropy_weight": weight}) for weight in (-0.2, -0.4)},
    "paper": {"aepo as published": (AEPO, {"preset": "paper"})},
    "candidate": {
        f"online, path, mixed {weight:+}": (AEPO, {**FIXED, **WEIGHED, "entropy_weight": weight})
        for weight in (-0.2, -0.4)
    },
    "random": {
        f"random, path, mixed {weight:+}": (
            AEPO,
            {**FIXED, **WEIGHED, "entropy_weight": weight, "branch_rule": "random"},
        )
        for weight in (-0.2, -0.4)
    },
    "arpo": {"arpo": (ARPO, {})},
    "weights": {f"grpo {weight:+}": (GRPO, {"entropy_weight": weight}) for weight in (0.2, -0.1, -0.6)},
    "aepo": {"aepo": (AEPO, {})},
    "parts": {
        "online, equal": (AEPO, {**FIXED, **PLAIN}),
        "online, equal +0.2": (AEPO, FIXED),
        "online, path": (AEPO, {**FIXED, "leaf_weights": "path", **PLAIN}),
        "online, path, sibling": (AEPO, {**FIXED, "leaf_weights": "path", "credit": "sibling", **PLAIN}),
        "online, path, mixed": (AEPO, {**FIXED, **WEIGHED, **PLAIN}),
    },
    "retrospective": {
        "retrospective, equal": (AEPO, {**FIXED, **PLAIN, "branch_time": "retrospective"}),
        "retrospective, path, mixed -0.2": (
            AEPO,
            {**FIXED, **WEIGHED, "entropy_weight": -0.2, "branch_time": "retrospective"},
        ),
    },
}
"""What `--only` names. Methods whose rollouts have equal rules share their batches."""


def methods(size: int, only: Sequence[str]) -> list[GradientMethod]:
    """Plain GRPO first; then those that are asked for."""
    named = [one for name in only for one in METHODS[name].items()]
    made = [GradientMethod(label, kind(group_size=size, **settings)) for label, (kind, settings) in named]
    return [GradientMethod("grpo", GRPO(group_size=size)), *made]


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    options.add_argument("--config", default="quickstart")
    options.add_argument("--only", default="grpo,paper,candidate,random", help=f"of {', '.join(METHODS)}")
    options.add_argument("--batches", type=int, default=40)
    options.add_argument("--questions", type=int, default=32)
    options.add_argument("--minutes", type=float, default=13.0)
    options.add_argument("--validation", action="store_true", help="ask validation questions, not training ones")
    options.add_argument("--advantages", choices=ADVANTAGES, help="one kind alone, in half of the time")
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    split = ["task.options.split=validation"] if given.validation else []
    config = load(given.config, [*split, *LIMITS.get(given.config, []), *given.overrides])
    compared = methods(config.algorithm.group_size, given.only.split(","))
    kinds = (given.advantages,) if given.advantages else ADVANTAGES
    amount = Amount(
        given.batches,
        given.batches,
        questions=given.questions,
        minutes=given.minutes,
        seed=config.seed,
        advantages=kinds,
    )
    measured = measure(config, compared, amount, partial(print, flush=True), held_out=given.validation)
    found = rows(measured, compared)
    if given.out is not None:
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    show(tables(found), notes(measured, compared, found))


if __name__ == "__main__":
    main()
