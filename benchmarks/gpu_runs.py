"""Runs of AEPO and of GRPO at equal k on `atlas`, by the package's agent in a large model, step by step."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from grown import grow

import aepo
from aepo.bench.cost import CostMeter
from aepo.bench.published import dimensions
from aepo.bench.random_model import config_from
from aepo.bench.subject import free_bytes
from aepo.config import Config
from aepo.doctor import estimate
from aepo.doctor.training_memory import training_memory
from aepo.engines.local.load import device_named, load_config
from aepo.engines.local.shape import shape_of
from aepo.engines.local.table import RowTable
from aepo.process.memory import OutOfMemory
from aepo.start import train_config
from aepo.tools.sandbox.base import SandboxUnavailable
from aepo.tools.sandbox.choose import choose
from aepo.training.checkpoints import Checkpoints

PROMPT = 128
"""Tokens of a prompt of `atlas`, at most."""
WANTED = (
    "time/step",
    "time/rollout",
    "time/train",
    "logprobs/rollout_difference_mean",
    "logprobs/rollout_difference_max",
    "logprobs/rollout_outside_share",
    "reward/mean",
    "tool/calls_per_trajectory",
    "tokens/sampled",
    "branch/share",
    "train/idle_share",
    "train/sharing",
    "train/distinct_tokens",
    "grad/norm",
)


def all_runs(size: str, toy: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Each run's name, and what makes it and gives its figures."""
    yield "sandbox", sandbox
    # Gigabytes, which nobody wants beside the figures.
    with tempfile.TemporaryDirectory() as made:
        folder = grow(config_from(dimensions(size)), Path(made) / "model")
        for kind in ("full", "lora"):
            for algorithm in ("aepo", "grpo"):
                yield f"{kind}/{algorithm}", partial(one_run, folder, algorithm, kind, toy)


def sandbox() -> str:
    """Where the agent's programs run; "unsafe_no_sandbox" where there is none and AEPO_GPU_NO_SANDBOX says to go on."""
    try:
        return choose().name
    except SandboxUnavailable:
        if not os.environ.get("AEPO_GPU_NO_SANDBOX"):
            raise
        return "unsafe_no_sandbox"


def one_run(model: Path, algorithm: str, kind: str, toy: bool) -> dict[str, Any]:
    """Figures of a run, a list a metric with one entry a step."""
    config = settings(model, algorithm, kind, toy)
    device = device_named("auto")
    need = training_memory(load_config(model), config.model, torch.bfloat16, estimate.pass_tokens(config, PROMPT))
    on_cpu = device.type == "cpu"
    needed = estimate.memory(config, shape_of(str(model)), need, "bfloat16", on_cpu, PROMPT).total
    told = {"estimate_bytes": needed, "fits": needed <= free_bytes(device)}
    # A checkpoint of gigabytes takes longer than the steps.
    Checkpoints.save = lambda self, state, wait=False: None  # type: ignore[method-assign]
    calls: list[int] = []
    decode = RowTable.decode

    def counted(self: Any, rows: Any, *others: Any) -> Any:
        calls.append(len(rows))
        return decode(self, rows, *others)

    RowTable.decode = counted  # type: ignore[method-assign]
    try:
        with CostMeter(device).cost() as found:
            train_config(config)
    except OutOfMemory as error:
        return {**told, "state": "out of memory", "failed": str(error)}
    finally:
        RowTable.decode = decode  # type: ignore[method-assign]
    lines = map(json.loads, (Path(config.run) / "metrics.jsonl").read_text().splitlines())
    steps = [step for step in lines if "time/step" in step]
    return {
        **told,
        "seconds": found.seconds,
        # On a CPU what earlier runs have freed would count.
        "peak_bytes": found.peak if device.type == "cuda" else None,
        "decode_calls": len(calls),
        "rows_a_call": sum(calls) / max(1, len(calls)),
        **{name: [step.get(name) for step in steps] for name in WANTED},
    }


def settings(model: Path, algorithm: str, kind: str, toy: bool) -> Config:
    """The configuration of a run: k = 8, eight questions a step."""
    given = [
        f"run={model.parent / f'{algorithm}-{kind}'}",
        f"model.path={model}",
        "model.dtype=bfloat16",
        f"task.options={{sandbox: {sandbox()}}}",
        f"algorithm.name={algorithm}",
        "algorithm.group_size=8",
        f"rollout.questions={2 if toy else 8}",
        f"rollout.max_tokens={64 if toy else 256}",
        "rollout.max_sequences=64",
        f"train.steps={2 if toy else 5}",
        "train.minibatches=2",
        "train.checkpoint_every=1000000",
        "train.trees_every=1000000",
        "evaluation.questions=1",
        "evaluation.samples=1",
        "evaluation.greedy=false",
        *(["train.threads=1"] if toy else []),
        *(["model.lora={rank: 16}", "train.learning_rate=1e-5"] if kind == "lora" else []),
    ]
    return aepo.load_config(None, given)
