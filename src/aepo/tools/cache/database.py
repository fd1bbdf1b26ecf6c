"""Makes, opens and checks the SQLite file of a tool cache, and defines the statements that write to it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

APPLICATION, FORMAT = 0x6165706F, 1
_MAGIC = b"SQLite format 3\0"
_SCHEMA = f"""
CREATE TABLE results (
    key TEXT PRIMARY KEY, tool TEXT NOT NULL, version TEXT NOT NULL, arguments TEXT NOT NULL, scope TEXT NOT NULL,
    status TEXT NOT NULL, text TEXT NOT NULL, seconds REAL NOT NULL, stored REAL NOT NULL, recording INTEGER
);
CREATE INDEX results_by_tool ON results (tool, stored);
CREATE TABLE recordings (id INTEGER PRIMARY KEY, run TEXT NOT NULL, started REAL NOT NULL);
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {FORMAT};
"""


class CacheRefused(ValueError):
    """The file cannot be used as a tool cache; the message says why and what to do."""


@dataclass(frozen=True)
class KeptResult:
    """One kept result.

    Attributes:
        key: Hash of tool, version, arguments and scope.
        tool: Name of the tool.
        version: Version of the tool.
        arguments: Canonical JSON.
        scope: "" if the result holds for every equal call, else the trajectory and the number of the call in it.
        status: How the call ended, as a `ToolStatus`.
        text: The result's whole text.
        seconds: Duration of the call.
        stored: Time of the entry, seconds since 1970.
        recording: The recording that it belongs to; None if it was cached.
    """

    key: str
    tool: str
    version: str
    arguments: str
    scope: str
    status: str
    text: str
    seconds: float
    stored: float
    recording: int | None = None


COLUMNS = ", ".join(column.name for column in fields(KeptResult))
_PLACES = ", ".join("?" for _ in fields(KeptResult))
_INSERT = f"INSERT INTO results ({COLUMNS}) VALUES ({_PLACES}) ON CONFLICT (key) DO "
KEEP = _INSERT + "NOTHING"
# A recording keeps its first result of each key, and replaces results of earlier recordings.
RECORD = (
    _INSERT
    + "UPDATE SET "
    + ", ".join(f"{column.name} = excluded.{column.name}" for column in fields(KeptResult))
    + " WHERE recording IS NOT excluded.recording"
)


def connect(path: Path, wait: float, read_only: bool) -> sqlite3.Connection:
    """Open the file; if it may be written, it is made with its folder.

    Args:
        path: Absolute path.
        wait: Seconds to wait for a lock.
        read_only: Never write to the file.

    Raises:
        CacheRefused: The file is no cache, damaged, of another version, locked, or cannot be written.
    """
    try:
        _refuse_other_files(path)
        return _reader(path, wait) if read_only else _writer(path, wait)
    except CacheRefused:
        raise
    except (sqlite3.Error, OSError) as error:
        raise CacheRefused(_refusal(path, error)) from error


def _refuse_other_files(path: Path) -> None:
    # SQLite treats a file of a few bytes as an empty one, and would overwrite it.
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise sqlite3.DatabaseError("file is not a database")


def _writer(path: Path, wait: float) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=wait, isolation_level=None, check_same_thread=False)
    try:
        new = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if not new:
            _check(connection, path)
        _wal(connection, wait)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        with transaction(connection):
            # Another process may have made the tables since `new` was read.
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
        _check(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _reader(path: Path, wait: float) -> sqlite3.Connection:
    if not path.is_file():
        raise CacheRefused(f"there is no tool cache {path}: record one with tools.mode=record tools.cache={path}")
    try:
        connection = _read_only(path, wait, "mode=ro")
    except sqlite3.OperationalError:
        # In a folder that cannot be written, SQLite can read a database only as "immutable", without its log.
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            raise
        connection = _read_only(path, wait, "mode=ro&immutable=1")
    try:
        _check(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _read_only(path: Path, wait: float, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.as_uri()}?{how}", timeout=wait, isolation_level=None, check_same_thread=False, uri=True
    )
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION:
        raise CacheRefused(f"{path} is a database of something else, no tool cache: give tools.cache another path")
    if version != FORMAT:
        raise CacheRefused(
            f"tool cache {path} has format {version}, this version of aepo reads {FORMAT}: give tools.cache another "
            f"path, or use the aepo that wrote it"
        )
    connection.execute(f"SELECT {COLUMNS} FROM results LIMIT 1").fetchone()


def _wal(connection: sqlite3.Connection, wait: float) -> None:
    """Switch to the write-ahead log. SQLite does not wait if several processes switch at once, so this waits."""
    deadline = time.monotonic() + wait
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise sqlite3.OperationalError(f"its file system has no shared memory (journal mode {mode})")
            # A killed process may have left entries in the log.
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write everything inside the block, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk ends the transaction by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _refusal(path: Path, error: Exception) -> str:
    said = str(error)
    if isinstance(error, OSError):
        return f"cannot make tool cache {path}: {error.strerror}; give tools.cache another path"
    if "readonly" in said or "unable to open" in said:
        return f"tool cache {path} cannot be written ({said}): give tools.cache another path, or use tools.mode=replay"
    if "locked" in said:
        return f"tool cache {path} is locked by another process: wait for it, or give tools.cache another path"
    return f"{path} is no tool cache, or damaged ({said}): move it away, or give tools.cache another path"
