"""A hand-over to vLLM and a rollout by vLLM against the in-process engine, in alternation, by wall and by CPU time.

    python benchmarks/vllm_speed.py MODEL PYTHON [key=value ...]

PYTHON has vLLM. The server's CPU time is that of all its processes. Each repetition draws the same prompts with both
engines, and each row gets the same number of tokens, so only the engines differ.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio

from aepo import tasks
from aepo.assembly.policies import load_to_train
from aepo.config import Config, load
from aepo.core.noise import noise_key
from aepo.doctor.gpus import check
from aepo.engines.vllm.launch import serving
from aepo.engines.vllm.sampler import VllmSampler
from aepo.process import event_loop
from aepo.rollout.generator import GeneratorSettings, Stop
from aepo.rollout.sampler import Sampler

ROWS, TOKENS, PROMPT, REPETITIONS, PUSHES = 8, 64, 128, 4, 7


def cpu_seconds(session: int) -> float:
    """CPU time of this process and of all processes of a session."""
    total = 0
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12]) if int(fields[3]) == session else 0
    return time.process_time() + total / os.sysconf("SC_CLK_TCK")


def rollout(sampler: Sampler, repetition: int) -> None:
    """Some rows with one beginning, each to its full length."""

    async def run() -> None:
        engine = sampler.generator(GeneratorSettings(max_sequences=ROWS, max_length=PROMPT + TOKENS))
        prompt = [(repetition * 7919 + place * 104729) % 40000 + 10 for place in range(PROMPT)]

        async def grow(row: int) -> None:
            path = engine.open(prompt, noise_key("row", row))
            while path.length < PROMPT + TOKENS:
                await engine.sample(path, PROMPT + TOKENS - path.length, Stop())

        async with engine, anyio.create_task_group() as group:
            for row in range(ROWS):
                group.start_soon(grow, row)

    event_loop.run(run)


def timed(work: Callable[[], object], session: int) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), cpu_seconds(session)
    work()
    return time.perf_counter() - wall, cpu_seconds(session) - cpu


def told(name: str, seconds: list[tuple[float, float]]) -> None:
    """Print the median and the range of some times."""
    wall, cpu = zip(*seconds, strict=True)
    print(
        f"{name}: wall {statistics.median(wall):.2f} s ({min(wall):.2f} to {max(wall):.2f}), "
        f"CPU {statistics.median(cpu):.2f} s ({min(cpu):.2f} to {max(cpu):.2f}), load {os.getloadavg()[0]:.0f}",
        flush=True,
    )


def measure(config: Config, compare: bool) -> None:
    """Hand over some times, and perhaps compare rollouts."""
    task = tasks.load(config.task.name, config.task.options)
    with serving(config, task, check) as server:
        session = server.server.guarded.session
        policy = load_to_train(config)
        sampler = VllmSampler(server, policy)
        sampler.push(0)
        pushes, ends, difference = [], [], sampler.check.difference

        def checked(model: str) -> float:
            ends.append(cpu_seconds(session))
            return difference(model)

        # The comparison after a hand-over is not part of its time.
        sampler.check.difference = checked  # type: ignore[method-assign]
        for version in range(1, PUSHES + 1):
            cpu = cpu_seconds(session)
            pushes.append((sampler.push(version)["weights/seconds"], ends[-1] - cpu))
        told("hand-over of an adapter" if config.model.lora else "hand-over of all weights", pushes)
        if not compare:
            return
        found: dict[str, list[tuple[float, float]]] = {"vLLM": [], "in-process": []}
        for repetition in range(REPETITIONS + 1):
            for name, engine in (("vLLM", sampler), ("in-process", policy.sampler)):
                found[name].append(timed(partial(rollout, engine, repetition), session))
        for name, seconds in found.items():
            told(f"{ROWS} rows of {TOKENS} tokens, {name}", seconds[1:])


def main(model: str, python: str, *overrides: str) -> None:
    """Measure an adapter, then all weights."""
    with tempfile.TemporaryDirectory() as folder:
        common = ["engine=vllm", f"model.path={model}", f"vllm.python={python}", f"run={folder}/run", *overrides]
        common += ["rollout.protocol=chat", "rollout.deterministic=false", f"rollout.max_sequences={ROWS}"]
        common += ["train.threads=1", "vllm.start_timeout=900"]
        measure(load("quickstart", [*common, "model.lora.rank=16"]), compare=False)
        measure(load("quickstart", common), compare=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
