"""Compares mathematical answers: as numbers, as text, or by math-verify.

math-verify gives the policy's text to sympy. For a tower of powers, sympy can stay in one C call for ever, and no
signal and no thread can end it. So math-verify runs in a child process, one call at a time; the process is killed if
it takes too long.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence

from aepo.rewards.answer import agree, number, read
from aepo.rewards.base import targets as accepted
from aepo.rewards.formula import Formula, formula
from aepo.rewards.money import rate
from aepo.types import Sample, Trajectory

SECONDS = 120.0
"""Longest wait for one comparison; after it the answer counts as wrong. The child has its own limit on CPU time."""

START_SECONDS = 120.0
_CHILD = "aepo.rewards.verify"
_lock = threading.Lock()
_child: tuple[int, subprocess.Popen[str]] | None = None  # with its parent's id, because a fork must not share it


def equivalent(answer: str, targets: str | Sequence[str]) -> float:
    """1.0 if `answer` is mathematically equal to one of `targets`, else 0.0; may be called from any thread.

    Raises:
        RuntimeError: The process that compares them could not be started.
    """
    listed = [targets] if isinstance(targets, str) else targets
    written = formula(answer)
    if not written.text:
        return 0.0
    verdicts = {gold: at_sight(written, gold) for gold in map(formula, listed)}
    unsure = (gold for gold, verdict in verdicts.items() if verdict is None)
    return float(True in verdicts.values() or any(_verified(written, gold) for gold in unsure))


def math(sample: Sample, trajectory: Trajectory) -> float:
    """Reward 1.0 if the answer is mathematically equal to one of the sample's targets, else 0.0."""
    return equivalent(trajectory.answer or "", accepted(sample))


def at_sight(answer: Formula, target: Formula) -> bool | None:
    """Whether two formulas are equal as text or numbers; None if that needs math-verify."""
    times = rate(answer.currency, target.currency)
    if times is None:
        return False
    left, right = number(answer.text), number(target.text)
    if left is not None and right is not None:
        return left * times == right or (None if "." in answer.text + target.text else False)
    if answer.bare == target.bare != "":
        return times == 1
    if answer.bases != target.bases or {answer.kind, target.kind} == {"set", "tuple"}:
        return False
    return agree(read(answer.words), read(target.words)) if answer.words and target.words else None


def _verified(answer: Formula, target: Formula) -> bool:
    with _lock:
        question = json.dumps([answer.text, target.text, answer.currency, target.currency])
        reply = _ask(_running(), question, SECONDS)
        if reply == "":
            _stop()
        return reply == "true"


def _running() -> subprocess.Popen[str]:
    global _child
    if _child is None or _child[0] != os.getpid() or _child[1].poll() is not None:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", _CHILD],  # -P: no file of the current folder may hide a library
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="ascii",
        )
        _child = (os.getpid(), child)
        if _ask(child, "", START_SECONDS) != "ready":
            _stop()
            raise RuntimeError(f"formulas cannot be compared: python -m {_CHILD} tells why")
    return _child[1]


def _ask(child: subprocess.Popen[str], line: str, seconds: float) -> str:
    """The child's next line; empty if it died or had to be killed."""
    assert child.stdin is not None and child.stdout is not None
    timer = threading.Timer(seconds, child.kill)
    timer.daemon = True
    timer.start()
    try:
        if line:
            child.stdin.write(line + "\n")
            child.stdin.flush()
        return child.stdout.readline().strip()
    except OSError:  # it died between two questions
        return ""
    finally:
        timer.cancel()


def _stop() -> None:
    global _child
    if _child is not None and _child[0] == os.getpid():
        _child[1].kill()
        _child[1].communicate()
    _child = None


atexit.register(_stop)
