"""Mathematical answers: equal as numbers, as text, or by math-verify (spec 6).

math-verify hands what a policy wrote to sympy, and a tower of powers keeps sympy busy for ever inside one C call that
no signal and no thread can end. So it runs in a child process, one at a time, that is killed when it takes too long.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from aepo.rewards.answer import number
from aepo.rewards.base import targets as accepted
from aepo.types import Sample, Trajectory

SECONDS = 10.0
"""Longest time for one comparison; then the answer counts as wrong."""

START_SECONDS = 120.0
LONGEST = 2000
"""Characters; a longer answer is no formula."""

_CHILD = Path(__file__).with_name("verify.py")
_BOXED = re.compile(r"\\boxed\s*\{(.*)\}", re.DOTALL)
_IGNORED = re.compile(r"\s+|\\[ ,;!]|\\left|\\right|\$")

_lock = threading.Lock()
_child: tuple[int, subprocess.Popen[str]] | None = None  # with the process that started it: a fork must not share it


def equivalent(answer: str, targets: str | Sequence[str]) -> float:
    """1.0 if `answer` is mathematically one of `targets`, else 0.0; whatever the text, from any thread.

    Raises:
        RuntimeError: math-verify could not be started.
    """
    listed = [targets] if isinstance(targets, str) else list(targets)
    answer = _unboxed(answer)
    if not answer or len(answer) > LONGEST:
        return 0.0
    asked = []
    for target in map(_unboxed, listed):
        left, right = number(answer), number(target)
        if left is not None and right is not None:
            if left == right:
                return 1.0
        elif _bare(answer) == _bare(target) != "":
            return 1.0
        else:
            asked.append(target)
    return float(any(_verified(answer, target) for target in asked))


def math(sample: Sample, trajectory: Trajectory) -> float:
    """Reward 1.0 if the answer is mathematically equal to one of the sample's targets, else 0.0."""
    return equivalent(trajectory.answer or "", accepted(sample))


def _unboxed(text: str) -> str:
    boxed = _BOXED.search(text)
    return (boxed.group(1) if boxed else text).strip()


def _bare(text: str) -> str:
    return _IGNORED.sub("", text).replace("dfrac", "frac").replace("tfrac", "frac").removesuffix(".")


def _verified(answer: str, target: str) -> bool:
    with _lock:
        child = _running()
        reply = _ask(child, json.dumps([answer, target]), SECONDS)
        if reply == "":
            _stop()
        return reply == "true"


def _running() -> subprocess.Popen[str]:
    global _child
    if _child is None or _child[0] != os.getpid() or _child[1].poll() is not None:
        child = subprocess.Popen(
            [sys.executable, "-P", str(_CHILD)],  # -P: this folder's math.py must not hide the library's
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="ascii",
        )
        _child = (os.getpid(), child)
        said = _ask(child, "", START_SECONDS)
        if said != "ready":
            _stop()
            raise RuntimeError(f"math-verify cannot be used ({said or 'its process ended'}): pip install math-verify")
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
        child = _child[1]
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with suppress(OSError):  # a question may still be in its buffer
                    pipe.close()
    _child = None


atexit.register(_stop)
