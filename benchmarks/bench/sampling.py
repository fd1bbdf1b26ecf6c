"""Compares the engine's tokens per second with `transformers.generate`, and profiles a decode step."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import anyio
import torch

from aepo.core.noise import noise_key
from aepo.engines.local.generator import LocalGenerator
from aepo.engines.local.policy import LocalPolicy
from aepo.rollout.generator import Generator, GeneratorSettings, GrowingSequence, Stop

from .clock import Cost, cost

WARM_UP = 4
"""Tokens of each row that are sampled before the measurement, so that the prompt is read and memory is allocated."""


def prompts_of(policy: LocalPolicy, rows: int, length: int) -> torch.Tensor:
    """(rows, length) random ids."""
    chance = torch.Generator().manual_seed(rows)
    return torch.randint(0, len(policy.tokenizer), (rows, length), generator=chance)


def engine_of(policy: LocalPolicy, rows: int, length: int, temperature: float = 1.0) -> LocalGenerator:
    """An engine with room for `rows` sequences of `length` tokens."""
    return policy.sampler.generator(GeneratorSettings(temperature=temperature, max_sequences=rows, max_length=length))


def sampled(policy: LocalPolicy, prompts: torch.Tensor, tokens: int) -> tuple[Cost, float]:
    """Cost of reading the prompts and sampling `tokens` tokens in each row, and the seconds of a decode step."""
    engine = engine_of(policy, len(prompts), prompts.shape[1] + tokens)
    steps: list[float] = []

    async def main() -> None:
        async with engine:
            opened = [engine.open(row, noise_key("bench", i)) for i, row in enumerate(prompts.tolist())]
            await grow(engine, opened, WARM_UP)
            began = time.perf_counter()
            # Every step copies its tokens to the host, so the device has finished after the last one.
            await grow(engine, opened, tokens - WARM_UP)
            steps.append((time.perf_counter() - began) / (tokens - WARM_UP))

    with cost(policy.device) as found:
        anyio.run(main)
    return found, steps[0]


async def grow(engine: Generator, opened: Sequence[GrowingSequence], tokens: int) -> None:
    """Sample `tokens` tokens in each sequence, together."""
    async with anyio.create_task_group() as tasks:
        for sequence in opened:
            tasks.start_soon(engine.sample, sequence, tokens, Stop())


def generated(policy: LocalPolicy, prompts: torch.Tensor, tokens: int) -> Cost:
    """Cost of the same with `transformers.generate`, which gives no log-probabilities."""
    model: Any = policy.model
    ids = prompts.to(policy.device)
    with cost(policy.device) as found, torch.inference_mode():
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=True,
            top_k=0,
            top_p=1.0,
            temperature=1.0,
        )
    assert out.shape[1] == prompts.shape[1] + tokens, "a row ended early"
    return found


def profile(policy: LocalPolicy, prompts: torch.Tensor, steps: int) -> dict[str, Any]:
    """Profile a decode step with torch.

    Returns:
        Per step: kernels, their milliseconds, and wall milliseconds, which the profiler makes longer; and the slowest
        kernels, as (name, calls per step, milliseconds per step). On a CPU, operators instead of kernels.
    """
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as watch

    engine = engine_of(policy, len(prompts), prompts.shape[1] + WARM_UP + steps)
    on_gpu = policy.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    found: dict[str, Any] = {}

    async def main() -> None:
        async with engine:
            opened = [engine.open(row, noise_key("bench", i)) for i, row in enumerate(prompts.tolist())]
            await grow(engine, opened, WARM_UP)
            began = time.perf_counter()
            with watch(activities=activities) as watched:
                await grow(engine, opened, steps)
            found["wall_ms"] = (time.perf_counter() - began) / steps * 1e3
            found["watched"] = watched

    anyio.run(main)
    calls: Counter[str] = Counter()
    micros: Counter[str] = Counter()
    for event in found.pop("watched").key_averages():
        spent = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        if spent and (not on_gpu or "CUDA" in str(event.device_type)):
            calls[event.key] += event.count
            micros[event.key] += spent
    top = [(name[:90], calls[name] / steps, us / steps / 1e3) for name, us in micros.most_common(16)]
    return {
        **found,
        "kernels": sum(calls.values()) / steps,
        "kernels_ms": sum(micros.values()) / steps / 1e3,
        "top": top,
    }
