"""Keeps the rewards and answers of an evaluation in a small file, which paired comparisons read.

{"format": 1, "id": "q7", "sampled": [{"reward": 1.0, "answer": "Madrid", "stop": "answer"}, ...], "greedy": null,
 "question": "What is the capital of Spain?", "targets": ["Madrid"], "metadata": {"kind": "capital"}}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from aepo.evaluation.passk import pass_at_k
from aepo.files.formats import from_line, to_line
from aepo.files.lines import parsed
from aepo.files.whole import write_whole
from aepo.runs.folder import RunFolder, writing
from aepo.types import SUCCESS, Group

FORMAT = 1


@dataclass(frozen=True)
class Attempt:
    """The reward of one trajectory, its answer, and why it ended; None without an answer, and where it was not kept."""

    reward: float
    answer: str | None
    stop: str | None = None


@dataclass(frozen=True)
class Outcome:
    """The outcome of one question.

    Attributes:
        id: The sample's id.
        sampled: Its independent trajectories.
        greedy: The trajectory of the likeliest tokens; None if there is none.
        question: The sample's question.
        targets: Its right answers.
        metadata: What of its metadata is text, a number or true or false.
    """

    id: str
    sampled: tuple[Attempt, ...]
    greedy: Attempt | None = None
    question: str = ""
    targets: tuple[str, ...] = ()
    metadata: dict[str, str | int | float | bool] = field(default_factory=dict)

    def passes(self, k: int) -> float:
        """Unbiased Pass@k of this question; NaN with fewer than k samples."""
        return pass_at_k(len(self.sampled), sum(attempt.reward >= SUCCESS for attempt in self.sampled), k)


def to_lines(found: Sequence[Outcome]) -> str:
    """Write outcomes as one JSON object a line; `from_lines` reads them back equal."""
    return "".join(to_line(FORMAT, asdict(outcome)) + "\n" for outcome in found)


def save_outcomes(folder: RunFolder, step: int, found: Sequence[Outcome]) -> None:
    """Write the outcomes of a step's evaluation atomically; RunFolderError if the disk is full or refuses."""
    path = folder.outcomes_file(step)
    with writing(path):
        folder.outcomes.mkdir(parents=True, exist_ok=True)
        write_whole(path, to_lines(found).encode())


def read_outcomes(folder: RunFolder, step: int) -> list[Outcome]:
    """The outcomes of a step's evaluation; ValueError names a file that is missing or broken."""
    path = folder.outcomes_file(step)
    try:
        return from_lines(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}; remove the run's folder to make it anew") from error
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from error


def from_lines(text: str) -> list[Outcome]:
    """Read the result of `to_lines`; ValueError names a line that is broken or of another format."""
    return parsed(text.encode(), lambda line: from_line(line, FORMAT, "outcome", Outcome))


def attempts(group: Group) -> tuple[Attempt, ...]:
    """The rewards and answers of a group's trajectories."""
    ended = zip(group.rewards, group.tree.leaves, strict=True)
    return tuple(Attempt(reward, leaf.answer, leaf.stop_reason.value) for reward, leaf in ended)


def outcome(group: Group, greedy: Attempt | None) -> Outcome:
    """The outcome of a question whose trajectories were sampled independently."""
    sample = group.sample
    targets = (sample.target,) if isinstance(sample.target, str) else tuple(sample.target)
    plain = {name: value for name, value in sample.metadata.items() if isinstance(value, str | int | float)}
    return Outcome(sample.id, attempts(group), greedy, sample.question, targets, plain)
