"""Keeps tool results in one SQLite file that many threads and processes share.

A write is one transaction. If a process is killed, all results that `put` returned as stored are in the file, and no
result is half written. A power cut may lose the last results. If a result cannot be written, because the file is locked
or the disk is full, it waits in memory. It can be read there, and is written with the next result.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path

from aepo.tools.cache.database import COLUMNS, KEEP, RECORD, CacheRefused, KeptResult, connect, transaction
from aepo.tools.mounts import network_file_system

_log = logging.getLogger(__name__)

_MOST_WAITING = 256 << 20
"""The most characters of results that may wait in memory while the file cannot be written."""
# After a fork, the parent's connections must be neither used nor closed.
_inherited: list[object] = []


class CacheUnavailable(RuntimeError):
    """The file cannot be read or written now."""


@dataclass
class _Handle:
    """The connection, the lock and the waiting results of one process."""

    connection: sqlite3.Connection
    process: int = field(default_factory=os.getpid)
    lock: threading.Lock = field(default_factory=threading.Lock)
    waiting: dict[str, KeptResult] = field(default_factory=dict)
    characters: int = 0
    reason: str | None = None


class Store:
    """The file of results. Its methods may block for `wait` seconds, so do not call them in an event loop's thread.

    Args:
        path: The file; it is made with its folder, unless `read_only` is set.
        wait: Seconds to wait for a lock. After a failed wait, calls try without waiting until one succeeds.
        read_only: Never write to the file.
        unsafe_network: Allow a file system on which SQLite's locks are not reliable.
    """

    def __init__(self, path: Path, wait: float = 10.0, read_only: bool = False, unsafe_network: bool = False) -> None:
        """Store the settings; `open` opens the file."""
        self.path, self.wait, self.read_only, self.unsafe_network = path.absolute(), wait, read_only, unsafe_network
        self.recording: int | None = None
        self._handle: _Handle | None = None

    def open(self) -> None:
        """Open the file, or make it.

        Raises:
            CacheRefused: The file is on a network file system, no cache, damaged, of another version, locked, or cannot
                be written.
        """
        kind = None if self.unsafe_network else network_file_system(self.path)
        if kind is not None:
            raise CacheRefused(
                f"tool cache {self.path} is on a network file system ({kind}), which may lose or mix up writes: give "
                f"tools.cache a path on a local disk, or set tools.unsafe_network_cache=true"
            )
        self._handle = _Handle(connect(self.path, self.wait, self.read_only))

    def close(self) -> None:
        """Write the waiting results and close; may be called twice.

        Raises:
            CacheUnavailable: Some results could not be written; they are lost.
        """
        if self._handle is None:
            return
        handle = self._own()
        try:
            if self._write(handle, self.wait):
                return
            raise CacheUnavailable(
                f"{len(handle.waiting)} tool results could not be written to {self.path}: {handle.reason}"
            )
        finally:
            self._handle = None
            with handle.lock:
                handle.connection.close()

    def begin_recording(self, run: str, again: bool = False) -> None:
        """Begin a recording; all later `put`s belong to it.

        Args:
            run: The run that is recorded.
            again: Continue the run's last recording, if there is one.

        Raises:
            CacheRefused: The file is locked or cannot be written.
        """
        handle = self._own()
        try:
            with handle.lock, transaction(handle.connection):
                found = handle.connection.execute("SELECT max(id) FROM recordings WHERE run = ?", (run,)).fetchone()[0]
                if found is None or not again:
                    insert = "INSERT INTO recordings (run, started) VALUES (?, ?)"
                    found = handle.connection.execute(insert, (run, time.time())).lastrowid
        except sqlite3.Error as error:
            raise CacheRefused(f"cannot record to tool cache {self.path}: {error}") from error
        self.recording = found

    def get(self, key: str) -> KeptResult | None:
        """Return the entry of a key, or None.

        Raises:
            CacheUnavailable: The file is locked for too long, or damaged.
        """
        handle = self._own()
        waiting = handle.waiting.get(key)
        if waiting is not None:
            return waiting
        with handle.lock:
            try:
                self._patience(handle, self.wait)
                row = handle.connection.execute(f"SELECT {COLUMNS} FROM results WHERE key = ?", (key,)).fetchone()
                if not handle.waiting:
                    handle.reason = None
            except sqlite3.Error as error:
                self._note(handle, error)
                raise CacheUnavailable(f"cannot read tool cache {self.path}: {error}") from error
        return None if row is None else KeptResult(*row)

    def put(self, entry: KeptResult) -> tuple[KeptResult, bool]:
        """Keep a result, unless its key has one already. In a recording, only results of this recording count.

        Returns:
            The kept entry, and True if it is in the file; otherwise it waits in memory.

        Raises:
            CacheUnavailable: Too many results wait in memory already; this entry is not kept.
        """
        handle = self._own()
        entry = replace(entry, recording=self.recording)
        with handle.lock:
            if handle.characters > _MOST_WAITING:
                written = self._flush(handle, self.wait)
                if not written:
                    raise CacheUnavailable(
                        f"tool cache {self.path} cannot be written ({handle.reason}), and more results wait than "
                        f"memory should hold"
                    )
            if entry.key not in handle.waiting:
                handle.waiting[entry.key] = entry
                handle.characters += len(entry.text)
            entry = handle.waiting[entry.key]
        if not self._write(handle, self.wait):
            return entry, False
        with suppress(CacheUnavailable):
            return self.get(entry.key) or entry, True
        return entry, True

    @property
    def waiting(self) -> int:
        """Number of results that are not in the file yet."""
        return len(self._own().waiting)

    def entries(self, tool: str | None = None, before: float | None = None) -> Iterator[KeptResult]:
        """Yield the kept entries, the oldest first.

        Args:
            tool: Only entries of this tool.
            before: Only entries from before this time, seconds since 1970.

        Raises:
            CacheUnavailable: The file is damaged.
        """
        where, values = _where(tool, before)
        query = f"SELECT {COLUMNS} FROM results{where} ORDER BY stored, key"
        try:
            for row in self._own().connection.execute(query, values):
                yield KeptResult(*row)
        except sqlite3.Error as error:
            raise CacheUnavailable(f"cannot read tool cache {self.path}: {error}") from error

    def other_versions(self, tool: str, arguments: str) -> list[str]:
        """List the versions of a tool that have a result for these arguments; none if the file cannot be read."""
        query = "SELECT DISTINCT version FROM results WHERE tool = ? AND arguments = ? ORDER BY version"
        handle = self._own()
        with handle.lock, suppress(sqlite3.Error):
            return [row[0] for row in handle.connection.execute(query, (tool, arguments))]
        return []

    def prune(self, tool: str | None = None, before: float | None = None) -> int:
        """Delete the entries of `entries` and return their number; the file shrinks if no other process reads it.

        Raises:
            CacheUnavailable: The file is locked for too long, or cannot be written.
        """
        where, values = _where(tool, before)
        handle = self._own()
        try:
            with handle.lock:
                with transaction(handle.connection):
                    count = handle.connection.execute(f"DELETE FROM results{where}", values).rowcount
                with suppress(sqlite3.OperationalError):
                    handle.connection.execute("VACUUM")
        except sqlite3.Error as error:
            raise CacheUnavailable(f"cannot prune tool cache {self.path}: {error}") from error
        return count

    def _own(self) -> _Handle:
        handle = self._handle
        if handle is None:
            raise RuntimeError(f"tool cache {self.path} is not open")
        if handle.process != os.getpid():
            _inherited.append(handle)
            handle = self._handle = _Handle(connect(self.path, self.wait, self.read_only))
        return handle

    def _write(self, handle: _Handle, wait: float) -> bool:
        with handle.lock:
            return self._flush(handle, wait)

    def _flush(self, handle: _Handle, wait: float) -> bool:
        """Write all waiting results in one transaction; the caller holds the lock. Return True if none waits."""
        if not handle.waiting:
            return True
        entries = list(handle.waiting.values())
        try:
            self._patience(handle, wait)
            with transaction(handle.connection):
                for entry in entries:
                    statement = KEEP if entry.recording is None else RECORD
                    handle.connection.execute(statement, astuple(entry))
        except sqlite3.Error as error:
            self._note(handle, error)
            return False
        if handle.reason is not None:
            _log.warning("tool cache %s is written again, %d results that waited with it", self.path, len(entries))
            handle.reason = None
        handle.waiting.clear()
        handle.characters = 0
        return True

    def _patience(self, handle: _Handle, wait: float) -> None:
        wait = 0 if handle.reason is not None else wait
        handle.connection.execute(f"PRAGMA busy_timeout = {int(wait * 1000)}")

    def _note(self, handle: _Handle, error: sqlite3.Error) -> None:
        if handle.reason is None:
            _log.warning("tool cache %s: %s; tools run without it, results wait in memory", self.path, error)
        handle.reason = str(error)


def _where(tool: str | None, before: float | None) -> tuple[str, list[object]]:
    parts = [part for part, value in (("tool = ?", tool), ("stored < ?", before)) if value is not None]
    return f" WHERE {' AND '.join(parts)}" if parts else "", [v for v in (tool, before) if v is not None]
