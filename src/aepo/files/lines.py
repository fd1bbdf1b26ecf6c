"""Files of JSON lines that are appended to. A last line without its end is what a killed process left."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def parsed(data: bytes, parse: Callable[[str], T]) -> list[T]:
    """What the lines say, empty ones left out, and the last one too if it has no end and cannot be read.

    Raises:
        ValueError: Another line is broken; the message names it.
    """
    # Not splitlines: a text may hold other line separators.
    lines = data.split(b"\n")
    if not _whole(lines[-1]):
        lines.pop()
    found: list[T] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(parse(line.decode()))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
    return found


def read_lines(path: Path, parse: Callable[[str], T]) -> list[T]:
    """What the lines of a file say; nothing if it does not exist.

    Raises:
        ValueError: As of `parsed`, with the file's name.
    """
    try:
        return parsed(path.read_bytes(), parse) if path.is_file() else []
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from error


def append_lines(path: Path, lines: Sequence[str]) -> None:
    """Write lines behind those that are there; they are on the disk when it returns.

    Raises:
        OSError: The disk refuses; nothing is left of the attempt.
    """
    data = "".join(line + "\n" for line in lines).encode()
    with path.open("a+b", buffering=0) as file:
        _end_last_line(file)
        end = file.seek(0, os.SEEK_END)
        try:
            while data:
                data = data[file.write(data) :]
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                file.truncate(end)
            raise


def _end_last_line(file: FileIO) -> None:
    """Give the last line its end if it lacks one, or drop it if it is half."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 1))
    if file.read() in (b"", b"\n"):
        return
    file.seek(0)
    last = file.read().rpartition(b"\n")[2]
    if _whole(last):
        file.write(b"\n")
    else:
        file.truncate(size - len(last))


def _whole(line: bytes) -> bool:
    """Whether a line that has no end is one all the same."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
