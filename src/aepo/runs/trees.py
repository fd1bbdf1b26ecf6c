"""`trees/` of a run folder: the trees of a step, one question a line, for the viewer and for replay."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from aepo.files.whole import write_whole
from aepo.runs.folder import RunFolder, writing
from aepo.runs.token_texts import TokenTexts
from aepo.types import TREE_FORMAT, Group, Sample

# Level 9, the default, makes files an eighth smaller and takes 15 times as long.
_COMPRESSION = 1


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
        decode: Turns token ids into text, special tokens included.
        updates: The token updates of the first groups; the others were not trained on.

    Raises:
        RunFolderError: The disk is full or refuses.
    """
    path = folder.tree_file(step)
    texts_of, data = TokenTexts(decode), io.BytesIO()
    # Without a time stamp, equal trees give equal files.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=data, mtime=0) as file:
        for group, update in zip_longest(groups, updates):
            texts = [texts_of(node.tokens) for node in group.tree.nodes]
            line = {"step": step, **parts(group), "token_texts": texts}
            if update is not None:
                line["update"] = dict(update)
            file.write(as_json(line).encode() + b"\n")
    with writing(path):
        folder.trees.mkdir(parents=True, exist_ok=True)
        write_whole(path, data.getvalue())
    return path


def parts(group: Group) -> dict[str, Any]:
    """A group as `as_json` writes it."""
    # Only the fields of `Sample` can be read again, so further fields of a subclass are left out.
    sample = {part.name: getattr(group.sample, part.name) for part in fields(Sample)}
    return {"sample": sample, "tree": {"format": TREE_FORMAT, **_fields(group.tree)}}


def as_json(value: Any, indent: int | None = None) -> str:
    """JSON of values and dataclasses. A reward may have written other objects into metadata; their text is written."""
    return json.dumps(value, indent=indent, default=lambda part: _fields(part) if is_dataclass(part) else str(part))


def _fields(part: Any) -> dict[str, Any]:
    # `asdict` would copy every list of tokens, number by number.
    return {field.name: getattr(part, field.name) for field in fields(part)}
