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
    out: Path | None = None,
) -> None:
    """Measure which settings give a run the most signal for its tool calls, on your own task and model.

    The policy is fixed and nothing is trained. For each method batches are sampled, and the gradient of each is taken.
    The tables say whether a method's mean gradient points where that of plain GRPO points, and how large its signal is
    beside its noise, a batch, a call and a token. Branching, leaf weights, credit and the weight of entropy can be
    chosen by it before a training.

    Args:
        words: YAML files of trainings, and settings for all of them. With several files each is a method, and they
            may differ in algorithm.* alone. With one file its algorithm is measured as it is and with other weights.
        batches: Batches of each method, and of the reference.
        questions: Questions of a batch; by default rollout.questions.
        minutes: It takes at most about so long; then the batches until there count.
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
    measured = measure(config, methods, amount, partial(print, flush=True))
    found = rows(measured, methods)
    if out is not None:
        write_whole(out, (json.dumps(found, indent=1) + "\n").encode())
    show(tables(found), notes(measured, methods, found))
