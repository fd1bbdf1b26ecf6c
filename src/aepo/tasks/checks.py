"""Checks the questions of a task when it is built, so that a run does not fail on one hours later."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from aepo.environments.base import Environment
from aepo.files.json_data import broken_text, problem
from aepo.types import Example, Sample, ToolCall

_SHOWN = 60
_log = logging.getLogger(__name__)


def checked(samples: Iterable[Any], prefix: str, where: str) -> tuple[Sample, ...]:
    """The samples, each with an id of its own.

    Args:
        samples: The given samples, of any type.
        prefix: The beginning of the id of a sample without one; its number follows.
        where: The name of their owner, for messages.

    Raises:
        ValueError: One is no `Sample`, a field cannot be used, or two share an id; the message names the sample.
    """
    if isinstance(samples, Sample) or not isinstance(samples, Iterable):
        raise ValueError(f"{where}: give a list of aepo.Sample, not a {type(samples).__name__}")
    named = tuple(_numbered(sample, number, prefix, where) for number, sample in enumerate(samples))
    seen: set[str] = set()
    for sample in named:
        if sample.id in seen:
            raise ValueError(f"{where}: two samples have the id {sample.id!r}; give each its own, or none")
        seen.add(sample.id)
    return named


def check_held_out(trained: Sequence[Sample], held_out: Sequence[Sample], where: str) -> None:
    """Check that held-out questions differ from those of training.

    A question in both measures memory, so it is logged once. Blanks are ignored in the comparison.

    Raises:
        ValueError: One has the id of a training question.
    """
    known = {" ".join(sample.question.split()): sample for sample in trained}
    ids = {sample.id for sample in trained}
    for sample in held_out:
        if sample.id in ids:
            raise ValueError(f"{where}: two samples have the id {sample.id!r}, one is held out; give each its own")
    twins = [(one, known[text]) for one in held_out if (text := " ".join(one.question.split())) in known]
    if twins:
        sample, twin = twins[0]
        _warn(
            f"{where}: held-out sample {sample.id!r} asks the same as sample {twin.id!r}, which is trained on "
            f"({_short(sample.question)})" + f"; so do {len(twins) - 1} more" * (len(twins) > 1)
        )


def check_environments(
    samples: Sequence[Sample], named: Callable[[Sample], str], environments: Mapping[str, Environment], where: str
) -> None:
    """Check that each question has an environment, and all that its `reset` takes.

    Raises:
        ValueError: One has not.
    """
    for sample in samples:
        name = named(sample)
        if name not in environments:
            raise ValueError(
                f"{where}: sample {sample.id!r} names no environment: set its metadata 'environment' to one of "
                f"{', '.join(environments)}"
            )
        try:
            environments[name].arguments(sample)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None


def check_examples(examples: Sequence[Any], tools: Sequence[str], where: str) -> None:
    """Check that examples are solved questions that call the task's tools.

    Raises:
        ValueError: One is not; the message says which.
    """
    for number, one in enumerate(examples):
        if not isinstance(one, Example):
            raise ValueError(
                f"{where}: example {number} is a {type(one).__name__}: make it an aepo.Example(question, answer)"
            )
        if not one.question.strip() or not one.answer.strip():
            raise ValueError(f"{where}: example {number} has no question or no answer")
        for pair in one.calls:
            if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], ToolCall)):
                raise ValueError(f"{where}: example {number}: its calls are pairs of aepo.ToolCall and a text")
            if pair[0].name not in tools:
                known = ", ".join(tools) or "none"
                raise ValueError(f"{where}: example {number} calls {pair[0].name!r}; the tools are {known}")


@lru_cache(maxsize=256)
def _warn(line: str) -> None:
    """Log a line once, because a task is built again for each change of its tools."""
    _log.warning(line)


def _numbered(sample: Any, number: int, prefix: str, where: str) -> Sample:
    if not isinstance(sample, Sample):
        raise ValueError(
            f"{where}: sample {number} is a {type(sample).__name__}: make it an aepo.Sample(question, target)"
        )
    wrong = _wrong(sample)
    if wrong is not None:
        called = f" {sample.id!r}" if isinstance(sample.id, str) and sample.id else ""
        asked = (
            f" (it asks {_short(sample.question)})"
            if isinstance(sample.question, str) and sample.question.strip()
            else ""
        )
        raise ValueError(f"{where}: sample {number}{called}: {wrong}{asked}")
    if sample.id:
        return sample
    # A subclass may have another constructor, so `dataclasses.replace` could fail.
    named = copy.copy(sample)
    object.__setattr__(named, "id", f"{prefix}{number}")
    return named


def _wrong(sample: Sample) -> str | None:
    targets: Any = sample.target if isinstance(sample.target, list) else [sample.target]
    for name, text in [("question", sample.question), *(("target", one) for one in targets), ("id", sample.id)]:
        if not isinstance(text, str):
            wanted = "a text or a list of texts" if name == "target" else "a text"
            hint = f", e.g. {str(text)!r}" if isinstance(text, int | float) and not isinstance(text, bool) else ""
            return f"its {name} is {_short(text)} ({type(text).__name__}): write {wanted}{hint}"
        if broken_text(text):
            return f"its {name} holds half of a surrogate pair (a broken emoji)"
    if not sample.question.strip():
        return "its question is empty"
    if isinstance(sample.target, list) and not all(map(str.strip, targets or [""])):
        return "its target is a list with nothing in it, or with an empty text: write the accepted answers"
    if not isinstance(sample.metadata, dict):
        return f"its metadata is a {type(sample.metadata).__name__}: write an object of names and values"
    return problem(sample.metadata, "metadata")


def _short(value: Any) -> str:
    text = ascii(value) if isinstance(value, str) and broken_text(value) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
