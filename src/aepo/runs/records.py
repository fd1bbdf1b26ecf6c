"""Reads the rollout trees that a run left behind.

`<run>/trees/step-000010.jsonl.gz` holds one JSON object a line:

    {"step": 10, "sample": {"question": ...}, "tree": {"format": 1, "nodes": [...], "leaves": [...]},
     "texts": ["text of node 0", ...]  or, better,  "token_texts": [["one", " token", " each"], ...],
     "update": {"format": 1, ...}  where the question was trained on (`aepo.runs.updates`)}
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aepo.runs.updates import TokenUpdates
from aepo.types import Group, Sample, TrajectoryTree


@dataclass(frozen=True)
class Record:
    """One question of one step, with its tree and its tokens' texts.

    Attributes:
        step: The training step of its rollout.
        group: The question and its tree.
        texts: For each node its text in pieces, one per token, or one for the whole node.
        update: The token updates of the training; None if it was not trained on, or the file has none.
    """

    step: int
    group: Group
    texts: list[list[str]]
    update: TokenUpdates | None = None

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Record:
        """Read one line of a tree file.

        Raises:
            ValueError: A part is missing, or the texts do not fit the tree.
        """
        try:
            step, sample, tree = int(data["step"]), Sample(**data["sample"]), TrajectoryTree.from_dict(data["tree"])
        except KeyError as error:
            raise ValueError(f"no {error.args[0]!r}") from None
        except (TypeError, AttributeError) as error:
            raise ValueError(f"not a rollout tree ({error})") from None
        texts = data.get("token_texts")
        if texts is None:
            texts = [[text] for text in data.get("texts", [])]
        if len(texts) != len(tree.nodes):
            raise ValueError(f"{len(texts)} texts for {len(tree.nodes)} nodes: give 'texts' or 'token_texts'")
        for node, pieces in zip(tree.nodes, texts, strict=True):
            if "token_texts" in data and len(pieces) != len(node.tokens):
                raise ValueError(f"node {node.id} has {len(node.tokens)} tokens and {len(pieces)} texts")
            if node.parent is not None and not 0 <= node.parent < node.id:
                raise ValueError(f"node {node.id} comes after node {node.parent}, which is not before it")
        for leaf in tree.leaves:
            if not 0 <= leaf.node < len(tree.nodes):
                raise ValueError(f"the leaf of path {leaf.path} ends at node {leaf.node}, which does not exist")
        update = None if data.get("update") is None else TokenUpdates.from_dict(data["update"], tree)
        return cls(step, Group(sample, tree), texts, update)


def read_trees(path: Path) -> Iterator[Record]:
    """The records of one tree file, in order.

    Raises:
        ValueError: A line is broken; the message names file and line.
    """
    for number, line in _lines(path):
        yield _parsed(path, number, line)


def nth_record(path: Path, number: int) -> tuple[Record | None, int]:
    """The record with this number, from 0, and the number of lines read; None if there are fewer lines.

    Raises:
        ValueError: The line is broken; the message names file and line.
    """
    count = 0
    for at, line in _lines(path):
        if count == number:
            return _parsed(path, at, line), count + 1
        count += 1
    return None, count


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers from 1."""
    number = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, 1):  # the error message names this line
                if line.strip():
                    yield number, line
    except (ValueError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path}, line {max(number, 1)}: {error}") from error


def _parsed(path: Path, number: int, line: str) -> Record:
    try:
        return Record.from_dict(json.loads(line))
    except ValueError as error:
        raise ValueError(f"{path}, line {number}: {error}") from error
