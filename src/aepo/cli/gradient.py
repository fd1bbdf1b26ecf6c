"""Runs `aepo gradient`."""

from __future__ import annotations

import json
from functools import partial
from math import inf
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from aepo.files.paths import local


def gradient(
    words: Annotated[Positional[tuple[str, ...]], arg(metavar="CONFIG|KEY=VALUE")] = (),
    /,
    *,
    batches: int = 40,
    questions: int | None = None,
    minutes: float = 12.0,
    held_out: bool = False,
    out: Path | None = None,
) -> None:
    """Measure which settings give a run the most signal for its tool calls, on your own task and model.

    Use it before a training, to choose branching, leaf weights, credit and the weight of entropy. It trains nothing. It
    samples batches by each method and computes the gradient of each batch. The tables show two things. Does the mean
    gradient point where that of plain GRPO points? How large is its signal beside its noise, for a batch, a call and a
    token?

    Args:
        words: YAML files of trainings, and settings for all of them. Each of several files is a method; they may differ
            in algorithm.* alone. The algorithm of a single file is measured as it is and with other weights.
        batches: Batches of each method, and of the reference.
        questions: Questions of a batch; by default rollout.questions.
        minutes: Stop after about so many minutes; the batches sampled by then count.
        held_out: Ask the questions of the evaluation, not those of training. Choose settings on questions that no
            result is reported on.
        out: JSON file for every figure.
    """
    if batches < 2:
        raise ValueError(f"--batches is {batches}: signal and noise need at least 2")
    if not 0 < minutes < inf:
        raise ValueError(f"--minutes is {minutes}: give a number above 0")
    if questions is not None and questions < 1:
        raise ValueError(f"--questions is {questions}: at least 1")
    if out is not None and not out.absolute().parent.is_dir():
        raise ValueError(f"--out {out}: there is no folder {out.parent}")
    from aepo.files.whole import write_whole
    from aepo.gradient.measure import Amount
    from aepo.gradient.methods import methods_of
    from aepo.gradient.report import notes, rows, tables
    from aepo.gradient.run import measure
    from aepo.terminal.table import show

    files = [local(word) for word in words if "=" not in word]
    config, methods = methods_of(files, [word for word in words if "=" in word])
    asked = questions or config.rollout.questions
    amount = Amount(batches, batches, questions=asked, minutes=minutes, seed=config.seed)
    measured = measure(config, methods, amount, partial(print, flush=True), held_out=held_out)
    found = rows(measured, methods)
    if out is not None:
        write_whole(out, (json.dumps(found, indent=1) + "\n").encode())
    show(tables(found), notes(measured, methods, found))
