"""How good a gradient each method gives, at one fixed policy: direction, noise, signal a batch, a call and a token.

The question that five seeds of training cannot answer, in minutes: which settings spend executed calls best. The policy
is not trained. Each method's batches are sampled by its own rules; the reference is plain GRPO on batches of its own.
`aepo gradient` does the same for a configuration of yours. Methods: GRPO with several weights of entropy; independent
rollouts against AEPO's online and retrospective ones, and random placement; equal and path weights; group, sibling and
mixed credit.

    python benchmarks/gradient_quality.py                                    # atlas at the warm start
    python benchmarks/gradient_quality.py model.path=runs/grpo/checkpoints/step-25 --only grpo,online
    python benchmarks/gradient_quality.py --config configs/house.yaml --out house.json

On two quiet cores it ends by itself in under 15 minutes (`--minutes`); then the batches until there count.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

from aepo.algorithms import AEPO, GRPO
from aepo.config import load
from aepo.gradient.measure import Amount
from aepo.gradient.methods import GradientMethod
from aepo.gradient.report import notes, rows, tables
from aepo.gradient.run import measure
from aepo.terminal.table import show

FIXED: dict[str, Any] = {"dynamic_budget": False, "branch_penalty": False, "tau": 0.5}
"""m is half of k, and branches in a row cost nothing: the rollouts differ in where they branch alone."""
ROLLOUTS: dict[str, dict[str, Any]] = {
    "online": FIXED,
    "retrospective": {**FIXED, "branch_time": "retrospective"},
    "random": {**FIXED, "branch_rule": "random"},
}
WEIGHTS: dict[str, dict[str, Any]] = {
    "equal": {"entropy_weight": 0.0},
    "equal +0.2": {"entropy_weight": 0.2},
    "path": {"entropy_weight": 0.0, "leaf_weights": "path"},
    "path, mixed": {"entropy_weight": 0.0, "leaf_weights": "path", "credit": "mixed"},
    "path, sibling": {"entropy_weight": 0.0, "leaf_weights": "path", "credit": "sibling"},
    "path, mixed -0.2": {"entropy_weight": -0.2, "leaf_weights": "path", "credit": "mixed"},
}


def methods(size: int, only: set[str]) -> list[GradientMethod]:
    """Plain GRPO first; then those of the rollouts that are asked for."""
    found = [GradientMethod("grpo", GRPO(group_size=size))]
    if "grpo" in only:
        found += [
            GradientMethod(f"grpo {w:+}", GRPO(group_size=size, entropy_weight=w)) for w in (0.2, -0.1, -0.2, -0.4)
        ]
    if "aepo" in only:
        found += [GradientMethod("aepo as published", AEPO(group_size=size))]
    for name, rollout in ROLLOUTS.items():
        if name in only:
            found += [
                GradientMethod(f"{name}, {how}", AEPO(group_size=size, **rollout, **weights))
                for how, weights in WEIGHTS.items()
            ]
    return found


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    options.add_argument("--config", default="configs/quickstart.yaml")
    options.add_argument("--only", default="grpo,online,aepo", help="of grpo, aepo, online, retrospective, random")
    options.add_argument("--batches", type=int, default=40)
    options.add_argument("--questions", type=int, default=32)
    options.add_argument("--minutes", type=float, default=13.0)
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    config = load(given.config, ["rollout.max_tool_calls=4", *given.overrides])
    compared = methods(config.algorithm.group_size, set(given.only.split(",")))
    amount = Amount(given.batches, given.batches, questions=given.questions, minutes=given.minutes, seed=config.seed)
    measured = measure(config, compared, amount, partial(print, flush=True))
    found = rows(measured, compared)
    if given.out is not None:
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    show(tables(found), notes(measured, compared, found))


if __name__ == "__main__":
    main()
