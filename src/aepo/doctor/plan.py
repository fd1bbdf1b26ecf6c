"""Checks a configuration: what is missing, what memory and time a step will take, and what to change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from aepo.config import Config
from aepo.doctor import estimate
from aepo.doctor.finding import Finding, size
from aepo.equipment.agents import room_for_instructions
from aepo.tasks.base import Task

if TYPE_CHECKING:
    from aepo.doctor.counted import Counted

# Bytes that Python, libraries and a task's documents take besides the model.
BESIDE = 1 << 30
PROMPT = 128
"""Tokens of a prompt, if the real number is not known."""


def load_task(config: Config) -> tuple[Task | None, list[Finding]]:
    """Make the task with its tools; None if it cannot be made, and the finding says why."""
    from aepo import tasks
    from aepo.tools.sandbox.base import SandboxUnavailable
    from aepo.tools.schema import ToolDefinitionError

    try:
        task = tasks.load(config.task.name, config.task.options)
    except SandboxUnavailable:
        text = "its tool python needs a sandbox, and none contains untrusted code here"
        return None, [Finding("config", f"task {config.task.name}", text, "missing", "see sandbox")]
    except (ValueError, OSError, ImportError, ToolDefinitionError) as error:
        text = " ".join(str(error).split())
        return None, [Finding("config", f"task {config.task.name}", text, "missing")]
    tools = ", ".join(str(getattr(tool, "name", tool)) for tool in task.tools) or "none"
    text = f"{len(task.samples):,} questions, {len(task.held_out):,} held out; tools: {tools}"
    return task, [Finding("config", f"task {task.name}", text)]


def needs_sandbox(task: Task | None, found: list[Finding]) -> bool:
    """Tell whether the task runs programs of the model on this machine."""
    if task is None:
        return any(one.fix == "see sandbox" for one in found)
    boxes = [dict(getattr(tool, "details", {})).get("sandbox", "") for tool in task.tools]
    return any(box and not box.startswith("http") for box in boxes)


def step(config: Config, task: Task | None, measure: bool, trial: int) -> list[Finding]:
    """Estimate the memory and the time of a training step.

    Args:
        config: The run's configuration.
        task: The run's task; None if it cannot be made.
        measure: Load the model and measure this machine with it, if it fits into memory.
        trial: Number of questions to ask, with the real tools, to learn how long trajectories are.
    """
    from aepo.doctor.counted import counted

    try:
        model = counted(config, PROMPT)
    except ValueError as error:
        return [Finding("step", "model", " ".join(str(error).split()), "missing")]
    on_cpu, dtype, shape = model.on_cpu, model.dtype, model.shape
    found = _memory(config, model)
    fits = all(one.state != "missing" for one in found)
    room = room_for_instructions(config)
    longest = PROMPT + room + config.rollout.max_tokens
    if shape.positions is not None and longest > shape.positions:
        text = f"trajectories may have about {longest:,} tokens, the model was built for {shape.positions:,}"
        fix = "lower instructions.max_tokens or rollout.max_tokens" if room else "lower rollout.max_tokens"
        found.append(Finding("step", "length", text, "missing", fix))
        return found
    if on_cpu and dtype != "float32":
        found.append(Finding("step", "dtype", f"{dtype} is slow on most CPUs", "note", "model.dtype=float32"))
    if config.engine == "vllm":
        text = "not estimated: vLLM samples; aepo train CONFIG --dry-run counts tokens and calls of a step"
        found.append(Finding("step", "time", text, "note"))
        return found
    if not measure or task is None or not fits:
        return found
    return found + list(_time(config, task, trial))


def _memory(config: Config, model: Counted) -> list[Finding]:
    """What a step needs, and whether it fits."""
    import torch

    from aepo.doctor.gpus import findings
    from aepo.engines.vllm.command import CPU_CACHE
    from aepo.process.host import host_memory

    shape, dtype, on_cpu, vllm = model.shape, model.dtype, model.on_cpu, config.engine == "vllm"
    if vllm and not on_cpu:
        return findings(config, model, PROMPT)
    need = estimate.memory(config, shape, model.training, dtype, on_cpu, PROMPT)
    if vllm:
        need = replace(need, cache=estimate.weights_bytes(shape, dtype) + (CPU_CACHE << 30))
    free = host_memory()[0] if on_cpu else torch.cuda.mem_get_info()[0]
    total = need.total + (BESIDE if on_cpu else 0)
    parts = (
        f"weights {size(need.weights)}, gradients and optimizer {size(need.training)}, "
        f"{'vLLM' if vllm else 'cache'} at most {size(need.cache)}, a training pass {size(need.activations)}"
    )
    fits = total <= free
    text = f"about {size(total)} of {size(free)} free ({shape.parameters / 1e6:,.1f} M parameters, {dtype}): {parts}"
    fix = "" if fits else "; ".join(smaller(config, need, dtype, on_cpu))
    return [Finding("step", "memory" if on_cpu else "GPU memory", text, "ok" if fits else "missing", fix)]


def smaller(config: Config, need: estimate.Memory, dtype: str, on_cpu: bool) -> list[str]:
    """List settings that make a step need less memory, for the largest part first."""
    advice = {
        need.training: [] if config.model.lora else ["model.lora.rank=16 trains adapters alone"],
        need.activations: [f"train.micro_batch_tokens={max(1, estimate.pass_tokens(config, PROMPT) // 4)}"]
        + ([] if config.model.gradient_checkpointing else ["model.gradient_checkpointing=true"]),
        need.cache: [f"rollout.max_sequences={max(1, config.rollout.max_sequences // 4)}"],
        need.weights: [] if on_cpu or dtype != "float32" else ["model.dtype=bfloat16"],
    }
    return [line for part in sorted(advice, reverse=True) for line in advice[part]] or ["a smaller model"]


def _time(config: Config, task: Task, trial: int) -> Iterator[Finding]:
    import torch

    from aepo.doctor import measure
    from aepo.doctor.host import processors
    from aepo.doctor.trial import prepared
    from aepo.doctor.trial import trial as ask

    try:
        policy, parts, equipment = prepared(config, task)
    except (ValueError, OSError) as error:
        yield Finding("step", "start", " ".join(str(error).split()), "missing")
        return
    threads = torch.get_num_threads()
    speed = measure.speed(config, parts)
    if policy.device.type == "cpu":
        why = "as train.threads says" if config.train.threads else f"the fastest here, of {processors()} processors"
        yield Finding("step", "threads", f"{threads}, {why}")
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        if load > processors():
            text = f"load {load:.1f} on {processors()} processors: others compute here, times below are too long"
            yield Finding("step", "load", text, "note", "look again when the machine is quiet")
    prompt = len(parts.agent.protocol.prompt(parts.questions[0].question))
    lengths = estimate.limits(config, prompt)
    if trial:
        lengths = measure.lengths(config, ask(config, parts, equipment, trial))
    rollout, update = estimate.seconds(config, lengths, speed)
    limit = "about" if lengths.trial else "at most"
    by = f"a trial of {trial} questions" if lengths.trial else "the limits, tools not counted; --trial 8 asks some"
    yield Finding(
        "step",
        "time",
        f"{limit} {_time_text(rollout + update)} (rollout {_time_text(rollout)}, update {_time_text(update)}): "
        f"{lengths.written:,} tokens written and {lengths.distinct:,} trained on, by {by}",
    )
    yield Finding(
        "step",
        "speed",
        f"a decode call takes {1e3 * speed.fixed:.2f} ms and {1e3 * speed.row:.3f} ms a sequence; training "
        f"{1 / speed.train:,.0f} tokens a second",
    )
    whole = config.train.steps * (rollout + update)
    yield Finding(
        "step", "run", f"{limit} {_time_text(whole)} for {config.train.steps:,} steps, evaluations not counted"
    )


def _time_text(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
