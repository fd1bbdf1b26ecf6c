"""`trees/` of a run folder: the trees of a step, one question a line, for the viewer and for replay."""

from __future__ import annotations

import functools
import gzip
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from itertools import zip_longest
from pathlib import Path
from typing import Any

from aepo.files.whole import write_whole
from aepo.runs.folder import RunFolder, writing
from aepo.types import TREE_FORMAT, Group, Sample, TrajectoryTree

# Most tokens that are decoded together in search of one character. UTF-8 needs 4; the rest is room for broken text.
_LONGEST_CHARACTER = 8


def save_trees(
    folder: RunFolder,
    step: int,
    groups: Sequence[Group],
    decode: Callable[[list[int]], str],
    updates: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Write a step's rollout trees for the viewer and for replay, atomically.

    Args:
        folder: The run folder.
        step: The training step.
        groups: The step's groups.
        decode: Text of token ids, special tokens included.
        updates: Token updates of the first groups; the others were not trained on.

    Raises:
        RunFolderError: The disk is full or refuses.
    """
    path = folder.trees / f"step-{step:06d}.jsonl.gz"
    cached = functools.lru_cache(maxsize=1 << 16)(lambda ids: decode(list(ids)))
    data = io.BytesIO()
    # Without a time stamp, equal trees give equal files.
    with gzip.GzipFile(filename="", mode="wb", fileobj=data, mtime=0) as file:
        for group, update in zip_longest(groups, updates):
            texts = [token_texts(node.tokens, lambda ids: cached(tuple(ids))) for node in group.tree.nodes]
            line = {"step": step, **plain(group), "token_texts": texts}
            if update is not None:
                line["update"] = dict(update)
            # A reward can have written any value into the metadata.
            file.write(json.dumps(line, default=str).encode() + b"\n")
    with writing(path):
        folder.trees.mkdir(parents=True, exist_ok=True)
        write_whole(path, data.getvalue())
    return path


def token_texts(tokens: Sequence[int], decode: Callable[[list[int]], str]) -> list[str]:
    """The text that each token adds; joined they are the whole text.

    Each token is decoded after the one before it, because some tokenizers drop a leading space. If several tokens make
    one character, the last one has it and the others are empty.
    """
    pieces: list[str] = []
    before: list[int] = []
    pending: list[int] = []
    for token in tokens:
        pending.append(token)
        head, whole = decode(before) if before else "", decode(before + pending)
        text = whole[len(head) :] if whole.startswith(head) else decode(pending)
        if text.endswith("\ufffd") and len(pending) < _LONGEST_CHARACTER:
            pieces.append("")
            continue
        pieces.append(text)
        before, pending = pending, []
    if pending:
        pieces[-1] = decode(pending)
    return pieces


def plain(group: Group) -> dict[str, Any]:
    """A group as plain values for JSON."""
    tree: TrajectoryTree = group.tree
    # Only the fields of `Sample` can be read again, so further fields of a subclass are left out.
    sample = {part.name: getattr(group.sample, part.name) for part in fields(Sample)}
    return {"sample": sample, "tree": {"format": TREE_FORMAT, **asdict(tree)}}
