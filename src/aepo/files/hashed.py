"""The SHA-256 of files: of one that is read, and of one while it is written."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits; an `OSError` is passed on."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class HashedFile:
    """Writes a new file from its beginning to its end, for libraries that write to a file object.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        # Unbuffered, so that large writes are not copied once more.
        self._file = path.open("wb", buffering=0)
        self._hash = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> int:
        """Append all of `data`; returns its number of bytes.

        Raises:
            OSError: The disk is full or refuses.
        """
        left = memoryview(data).cast("B")
        self._hash.update(left)
        size = len(left)
        while left:
            left = left[self._file.write(left) :]
        return size

    def flush(self) -> None:
        """Nothing waits to be written."""

    def sha256(self) -> str:
        """The hash of what was written so far, as hexadecimal digits."""
        return self._hash.hexdigest()

    def __enter__(self) -> HashedFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
