"""What a decode step of the engine consists of: torch's profile of a few steps.

    python benchmarks/decode_profile.py qwen3-0.6b --rows 64

Per step: kernels, their milliseconds, and wall milliseconds, which the profiler makes longer; and the slowest kernels
with calls and milliseconds per step. On a CPU, operators instead of kernels.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from typing import Any

import torch
from torch.profiler import ProfilerActivity
from torch.profiler import profile as watch

from aepo.bench.published import dimensions
from aepo.bench.random_model import random_policy
from aepo.bench.sampling import WARM_UP, engine_for, open_all, random_prompts
from aepo.doctor.measure import grow
from aepo.engines.local.load import device_named, dtype_named
from aepo.engines.local.policy import LocalPolicy
from aepo.process import event_loop

SLOWEST = 16


def profile(policy: LocalPolicy, prompts: torch.Tensor, steps: int) -> dict[str, Any]:
    """Profile so many decode steps: "wall_ms", "kernels", "kernels_ms" and "top": (name, calls, milliseconds)."""
    engine = engine_for(policy.sampler, prompts, WARM_UP + steps, 1.0)
    on_gpu = policy.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]

    async def main() -> tuple[float, Any]:
        async with engine:
            opened = open_all(engine, prompts)
            await grow(engine, opened, WARM_UP)
            began = time.perf_counter()
            with watch(activities=activities) as watched:
                await grow(engine, opened, steps)
            return time.perf_counter() - began, watched

    seconds, watched = event_loop.run(main)
    calls: Counter[str] = Counter()
    micros: Counter[str] = Counter()
    for event in watched.key_averages():
        spent = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        if spent and (not on_gpu or "CUDA" in str(event.device_type)):
            calls[event.key] += event.count
            micros[event.key] += spent
    return {
        "wall_ms": seconds / steps * 1e3,
        "kernels": sum(calls.values()) / steps,
        "kernels_ms": sum(micros.values()) / steps / 1e3,
        "top": [(name[:90], calls[name] / steps, us / steps / 1e3) for name, us in micros.most_common(SLOWEST)],
    }


def main() -> None:
    """Print the profile as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("size", help="a name that `aepo bench --random` knows, or a config.json")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--steps", type=int, default=4)
    options = parser.parse_args()
    device = device_named("auto")
    policy = random_policy(dimensions(options.size), device, dtype_named("auto", device))
    prompts = random_prompts(len(policy.tokenizer), options.rows, options.prompt)
    print(json.dumps(profile(policy, prompts, options.steps)))


if __name__ == "__main__":
    main()
