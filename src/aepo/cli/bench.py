"""`aepo bench`."""

from __future__ import annotations

import json
import time
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from aepo import config as configuration
from aepo.config import Config

if TYPE_CHECKING:
    from aepo.bench.parts import Measured

READ = ("model.", "rollout.temperature", "train.micro_batch_tokens", "train.threads")
"""Settings that a measurement reads; any other would be taken for one that acts."""
FEWEST = 8
"""Tokens that a row must sample, so that a step can be timed."""


def bench(
    model: Annotated[Positional[str | None], arg(metavar="MODEL")] = None,
    overrides: Annotated[Positional[tuple[str, ...]], arg(metavar="KEY=VALUE")] = (),
    /,
    *,
    random: Annotated[str | None, arg(metavar="SIZE|FILE")] = None,
    minutes: float = 5.0,
    rows: tuple[int, ...] = (1, 16, 64, 256),
    prompt: int = 128,
    tokens: int = 64,
    out: Path | None = None,
) -> int:
    """Measure speed and memory of a model on this machine, without a task: the first thing to run on new hardware.

    It prints a table. Tokens/s of sampling stand beside those of `transformers.generate`, and tokens/s of training on
    whole trajectories beside those on the tree. Each peak of memory stands beside the estimate of `aepo doctor`. The
    table also shows how far sampler and trainer are apart, and how long handing over the weights takes. A part that
    needs too much memory says so, and the others go on.

    Args:
        model: Folder or hub name of a model, a run's folder, "atlas" or "house".
        overrides: Settings, e.g. model.dtype=bfloat16 model.lora.rank=16 train.micro_batch_tokens=8192.
        random: Use random weights, without a download. Give a size like qwen3-0.6b, or a config.json.
        minutes: Stop after at most so many minutes; parts that do not fit are shortened or left out.
        rows: How many sequences are sampled at once.
        prompt: Tokens of each prompt.
        tokens: Tokens that each sequence samples; trajectories of training have four times as many of their own.
        out: JSON file for every figure, written after each part.
    """
    end = time.monotonic() + 60 * minutes
    if model is not None and "=" in model:
        model, overrides = None, (model, *overrides)
    config = settings(model, overrides, random)
    if not 0 < minutes < inf:
        raise ValueError(f"--minutes is {minutes}: give a number above 0")
    if not rows or min(rows) < 1:
        raise ValueError("--rows: give numbers of 1 or more, e.g. --rows 1 64")
    if prompt < 1 or tokens < FEWEST:
        raise ValueError(f"--prompt is {prompt} and --tokens {tokens}: at least 1 and {FEWEST} are needed")
    if out is not None and not out.absolute().parent.is_dir():
        raise ValueError(f"--out {out}: there is no folder {out.parent}")
    from aepo.bench.published import dimensions
    from aepo.bench.report import lines, notes, to_json
    from aepo.bench.runner import Bench, telling
    from aepo.bench.subject import Subject
    from aepo.files.whole import write_whole
    from aepo.terminal.table import show

    if random is None:
        subject = Subject(config.model.path, config)
    else:
        subject = Subject(f"{random} with random weights", config, dimensions(random))
    found: list[Measured] = []
    with telling() as tell:
        measurement = Bench(subject, rows, prompt, tokens, end, tell)
        for one in measurement.measure():
            found.append(one)
            if out is not None:
                write_whole(out, (json.dumps(to_json(measurement.about, found), indent=1) + "\n").encode())
    show([lines(found)], notes(measurement.about, found))
    return int(not any(one.state == "measured" for one in found))


def settings(model: str | None, overrides: tuple[str, ...], random: str | None) -> Config:
    """The configuration of a measurement.

    Raises:
        ValueError: No model or two are named, or a setting is not one that is read.
    """
    from aepo.equipment.models import is_server

    if (model is None) == (random is None):
        both = "both are given" if model else "neither is given"
        raise ValueError(f"name a model, or a size with --random qwen3-0.6b: {both}")
    if model is not None and is_server(model):
        raise ValueError(f"{model} is a server, which cannot be measured from here: give a folder or a hub name")
    for setting in overrides:
        if not setting.startswith(READ):
            known = ", ".join(f"{name}*" if name.endswith(".") else name for name in READ)
            raise configuration.ConfigError(f"{setting}: a measurement reads only {known}")
    config = configuration.load(None, overrides)
    return config.model_copy(update={"model": config.model.model_copy(update={"path": model or "random"})})
