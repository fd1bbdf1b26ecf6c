"""A step on a cluster, on paper: seconds of rollout and training from assumed sizes and speeds. Nothing is measured.

Run as: python benchmarks/plan.py --gpus 8 64 --questions 64 512
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass


@dataclass(frozen=True)
class Assumed:
    """Qwen3-14B in bfloat16 on H100s; every number can be argued with.

    Attributes:
        parameters: Of the model.
        kv_bytes: Of one token in the cache: 40 layers x 8 heads x 128 x 2 tensors x 2 bytes.
        memory: Bytes of one GPU that weights and cache may fill.
        bandwidth: Bytes a second of one GPU, and the share of it that decoding reaches.
        flops: Dense bfloat16 a second of one GPU, and the shares of it that prefill and training reach.
        k: Trajectories a question.
        prompt, sampled, observed: Tokens of a trajectory.
        turns: Policy turns, hence one tool call less.
        call: Seconds that a tool call keeps a trajectory waiting.
        global_share: m / k under AEPO; the others branch halfway on average.
    """

    parameters: float = 14.8e9
    kv_bytes: int = 40 * 8 * 128 * 2 * 2
    memory: float = 68e9
    bandwidth: float = 3.35e12 * 0.7
    prefill_flops: float = 990e12 * 0.5
    train_flops: float = 990e12 * 0.4
    k: int = 16
    prompt: int = 500
    sampled: int = 2000
    observed: int = 4000
    turns: int = 6
    call: float = 3.0
    global_share: float = 0.5


def step(assumed: Assumed, gpus: int, questions: int, branched: bool) -> dict[str, float]:
    """Seconds, by part of a step, and what they come from.

    decode = sampled tokens / (GPUs x rows / step time), a step reads all weights and, of each row, half of its final
    cache. chain is one trajectory from its first token to its last with nothing in its way: no number of GPUs makes a
    rollout shorter. Under AEPO it counts twice, since a question's other trajectories wait for its probe. Training is
    6 N FLOP a token.
    """
    a = assumed
    rows = questions * a.k
    # What a trajectory adds on average: a branch adds only the second half.
    own = a.global_share + (1 - a.global_share) / 2 if branched else 1.0
    length = a.prompt + a.sampled + a.observed
    weights = 2 * a.parameters
    # While some have just begun and others end, a trajectory holds some 60 % of its final cache.
    at_once = min(rows / gpus, (a.memory - weights) / (0.6 * length * a.kv_bytes))
    decode_step = (weights + at_once * length / 2 * a.kv_bytes) / a.bandwidth
    decode = rows * a.sampled * own / gpus / at_once * decode_step
    prefill = 2 * a.parameters * (rows * a.observed * own + questions * a.prompt) / (gpus * a.prefill_flops)
    chain = (1 + branched) * (a.sampled * weights / a.bandwidth + (a.turns - 1) * a.call)
    distinct = questions * (a.prompt + a.k * own * (a.sampled + a.observed))
    return {
        "rows at once": at_once,
        "decode": decode,
        "prefill": prefill,
        "chain": chain,
        "rollout": max(decode + prefill, chain),
        "train, tree": 6 * a.parameters * distinct / (gpus * a.train_flops),
        "train, flat": 6 * a.parameters * rows * length / (gpus * a.train_flops),
        "calls": rows * own * (a.turns - 1),
    }


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpus", type=int, nargs="+", default=[8, 64, 64])
    parser.add_argument("--questions", type=int, nargs="+", default=[64, 64, 512], help="a step, one for each --gpus")
    parser.add_argument("--call", type=float, default=Assumed.call, help="seconds of a tool call")
    options = parser.parse_args()
    assumed = Assumed(call=options.call)
    print(assumed)
    for gpus, questions in zip(options.gpus, options.questions, strict=True):
        for branched in (False, True):
            parts = step(assumed, gpus, questions, branched)
            print(f"{gpus:3d} GPUs, {questions:3d} questions, {'branched' if branched else 'independent':12}", end="")
            print("  ".join(f"{name} {value:.0f}" for name, value in parts.items()))


if __name__ == "__main__":
    main()
