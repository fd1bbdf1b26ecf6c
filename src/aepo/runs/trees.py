"""`trees/` of a run folder: the trees of a step, one question a line, for the viewer and for replay.

A line is made in two parts. `kept` holds a group's numbers as they are and all else as JSON, which is quick, and what a
reward has put into metadata needs no class of its own to be read back. `_whole` makes the texts of the tokens and the
whole line, which takes fifty times as long. In training, `TreeWriter` has that done by another process.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

from aepo.files.whole import write_whole
from aepo.process.elsewhere import Elsewhere
from aepo.runs.folder import RunFolder, writing
from aepo.runs.token_texts import TokenTexts
from aepo.runs.updates import TokenUpdates
from aepo.types import LEFT_OUT, TREE_FORMAT, Group, Node, Sample

# Level 9, the default, makes files an eighth smaller and takes 15 times as long.
_COMPRESSION = 1
_NUMBERS = ("tokens", "logprobs", "entropies")


@dataclass(frozen=True)
class Kept:
    """A group and what an update did to it, before its line is written.

    Attributes:
        text: JSON of the step, the sample and the tree, without the numbers of the nodes.
        numbers: For each node, its tokens, their log-probabilities and their entropies.
        update: The token updates; None if the group was not trained on.
    """

    text: str
    numbers: list[tuple[list[int], list[float], list[float]]]
    update: TokenUpdates | None


class TreeWriter:
    """Writes trees as `save_trees` does, in another process; training goes on.

    Args:
        folder: The run folder.
        decode: Turns token ids into text, special tokens included. It is pickled, so it must not hold a model.
    """

    def __init__(self, folder: RunFolder, decode: Callable[[list[int]], str]) -> None:
        self._folder = folder
        self._process = Elsewhere(partial(_write_pickled, decode=decode), "writes trees")

    def save(self, step: int, groups: Sequence[Group], updates: Sequence[TokenUpdates] = ()) -> None:
        """Hand a step's trees over, once those of the step before are written; arguments as of `save_trees`.

        Raises:
            RunFolderError: As `wait`, for the trees before.
            RuntimeError: As `wait`, for the trees before.
        """
        lines = [pickle.dumps(line) for line in _kept_lines(step, groups, updates)]
        self._process.start(self._folder.tree_file(step), lines)

    def check(self) -> None:
        """As `wait`, for trees whose writing has ended; do not wait for others."""
        self._process.check()

    def wait(self) -> None:
        """Wait until all trees are written; if that failed, the error is raised once.

        Raises:
            RunFolderError: The disk is full or refuses.
            RuntimeError: The process was killed or has a bug.
        """
        self._process.wait()

    def close(self) -> None:
        """End the process, after it has written what it has."""
        self._process.close()


def save_trees(
    folder: RunFolder,
    step: int,
    groups: Sequence[Group],
    decode: Callable[[list[int]], str],
    updates: Sequence[TokenUpdates] = (),
) -> Path:
    """Write a step's rollout trees for the viewer and for replay, atomically.

    Args:
        folder: The run folder.
        step: The training step.
        groups: The step's groups.
        decode: Turns token ids into text, special tokens included.
        updates: The token updates of the first groups; the others were not trained on.

    Raises:
        RunFolderError: The disk is full or refuses.
    """
    path = folder.tree_file(step)
    _write(path, _kept_lines(step, groups, updates), decode)
    return path


def parts(group: Group) -> dict[str, Any]:
    """A group as `as_json` writes it."""
    # Only the fields of `Sample` can be read again, so further fields of a subclass are left out.
    sample = {part.name: getattr(group.sample, part.name) for part in fields(Sample)}
    if sample["instruction"] is None:
        del sample["instruction"]
    return {"sample": sample, "tree": {"format": TREE_FORMAT, **_fields(group.tree)}}


def as_json(value: Any, indent: int | None = None) -> str:
    """JSON of values and dataclasses. A reward may have written other objects into metadata; their text is written."""
    return json.dumps(value, indent=indent, default=lambda part: _fields(part) if is_dataclass(part) else str(part))


def _kept_lines(step: int, groups: Sequence[Group], updates: Sequence[TokenUpdates]) -> Iterator[Kept]:
    for group, update in zip_longest(groups, updates):
        line = {"step": step, **parts(group)}
        line["tree"]["nodes"] = [_without_numbers(node) for node in group.tree.nodes]
        yield Kept(as_json(line), [(n.tokens, n.logprobs, n.entropies) for n in group.tree.nodes], update)


def _write_pickled(path: Path, lines: Sequence[bytes], decode: Callable[[list[int]], str]) -> None:
    # One after the other, because the numbers of a step may fill a GiB.
    _write(path, map(pickle.loads, lines), decode)


def _write(path: Path, lines: Iterable[Kept], decode: Callable[[list[int]], str]) -> None:
    texts_of, data = TokenTexts(decode), io.BytesIO()
    # Without a time stamp, equal trees give equal files.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=data, mtime=0) as file:
        for line in lines:
            file.write(json.dumps(_whole(line, texts_of)).encode() + b"\n")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data.getvalue())


def _whole(line: Kept, texts_of: TokenTexts) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(line.text)
    for node, numbers in zip(whole["tree"]["nodes"], line.numbers, strict=True):
        node.update(zip(_NUMBERS, numbers, strict=True))
    whole["token_texts"] = [texts_of(tokens) for tokens, _, _ in line.numbers]
    if line.update is not None:
        whole["update"] = line.update.to_dict()
    return whole


def _without_numbers(node: Node) -> Mapping[str, Any]:
    return _fields(node) | dict.fromkeys(_NUMBERS)


def _fields(part: Any) -> dict[str, Any]:
    # `asdict` would copy every list of tokens, number by number.
    found = ((field.name, getattr(part, field.name)) for field in fields(part))
    return {name: value for name, value in found if value not in (None, ()) or name not in LEFT_OUT}
