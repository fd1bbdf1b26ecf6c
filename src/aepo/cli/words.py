"""Reads words of the command line: paths with `~`, and settings in the place of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from aepo.files.paths import local

REGISTRY = ConstructorRegistry()


@REGISTRY.primitive_rule
def _path(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Expand `~` in paths: a shell does not expand it after `--out=`."""
    if info.type is not Path:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda words: local(words[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda value: [str(value)],
    )


def file_and_settings(first: str | None, others: tuple[str, ...]) -> tuple[Path | None, tuple[str, ...]]:
    """Split the words into the configuration's file and the settings; without a file, the first word is a setting."""
    if first is None or "=" in first:
        return None, (*([] if first is None else [first]), *others)
    return local(first), others
