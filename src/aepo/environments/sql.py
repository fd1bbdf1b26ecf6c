"""A SQLite database in memory as a world: the model asks it by SQL, and a check of the final database is the reward.

A snapshot is the whole database as bytes. These do not depend on the machine: the clock stands still, and `random()` is
seeded. Some statements are refused, because a copy would not know of them (transactions, temporary tables, settings),
or because they reach files (ATTACH, VACUUM INTO, extensions).
"""

from __future__ import annotations

import random
import re
import sqlite3
import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from aepo.types import ToolError

_PAGES, _LENGTH, _STEPS = 16_384, 1 << 17, 1000
_CELL = 200
# SQLite fills such a width one character at a time, and cannot be stopped meanwhile.
_WIDE = re.compile(r"\*|\d{5,}")
_TEMPORARY = {
    getattr(sqlite3, f"SQLITE_{what}_TEMP_{kind}")
    for what in ("CREATE", "DROP")
    for kind in ("INDEX", "TABLE", "TRIGGER", "VIEW")
}
_REFUSED = {
    sqlite3.SQLITE_ATTACH: "there are no other files; ATTACH and VACUUM are refused",
    sqlite3.SQLITE_DETACH: "there is only one database",
    sqlite3.SQLITE_TRANSACTION: "each statement is committed by itself; there are no transactions",
    sqlite3.SQLITE_SAVEPOINT: "each statement is committed by itself; there are no savepoints",
    sqlite3.SQLITE_CREATE_VTABLE: "virtual tables cannot be created",
    **dict.fromkeys(_TEMPORARY, "temporary tables, views and triggers cannot be created"),
}
_PRAGMAS = {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list"}
_FUNCTIONS = {"load_extension": "extensions cannot be loaded", "fts3_tokenizer": "tokenizers cannot be changed"}
_CLOCK = ("date", "time", "datetime", "julianday", "strftime", "unixepoch")


class SqlSession:
    """A database that each path has for itself; `query` is its tool.

    A sample's metadata may name `script` (SQL that builds the database) and `check` (a query whose first value is the
    reward, 0 to 1, or a condition).
    """

    def __init__(
        self, script: str = "", timeout: float = 2.0, rows: int = 50, now: str = "2025-01-01 00:00:00"
    ) -> None:
        """Set what all databases have in common.

        Args:
            script: SQL that builds the database where the sample names none.
            timeout: Seconds for one statement.
            rows: Rows of a result that are shown.
            now: What the clock of SQL shows, in UTC.
        """
        self._script, self._timeout, self._rows, self._now = script, timeout, rows, now
        self._check, self._reason = "", ""
        self._random = random.Random(0)
        self._counts = (0, 0, 0)
        self._database: sqlite3.Connection | None = None

    def reset(self, seed: int, script: str = "", check: str = "") -> None:
        """Build the database of the sample."""
        self._check, self._counts = check, (0, 0, 0)
        self._random = random.Random(seed)
        self._open(_built(script or self._script))

    def query(self, sql: str) -> str:
        """Run one SQL statement (SQLite) and read its rows. It is committed at once.

        Args:
            sql: The statement, such as SELECT name FROM users WHERE id = 3.
        """
        names, rows, changed = self._execute(sql, self._rows + 1)
        if not names:
            return "done" if changed < 0 else f"{changed} row{'s' * (changed != 1)} changed"
        lines = [" | ".join(names), *(" | ".join(map(_shown, row)) for row in rows[: self._rows])]
        if len(rows) > self._rows:
            lines.append(f"[more than {self._rows} rows; use LIMIT or count(*)]")
        return "\n".join(lines) if rows else f"{lines[0]}\nno rows"

    def get_reward(self) -> float:
        """The first value of the sample's check, from 0 to 1; 0 if its tables are gone."""
        if not self._check:
            return 0.0
        try:
            _, rows, _ = self._execute(self._check, 1)
        except ToolError:
            return 0.0
        return min(1.0, max(0.0, float((rows and rows[0][0]) or 0.0)))

    @property
    def state(self) -> dict[str, int]:
        """The number of rows of each table."""
        listed = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        tables = [row[0] for row in self._execute(listed, -1)[1]]
        quoted = {table: table.replace('"', '""') for table in tables}
        return {name: self._execute(f'SELECT count(*) FROM "{q}"', 1)[1][0][0] for name, q in quoted.items()}

    def snapshot(self) -> object:
        """The database, the state of `random()`, and the counts of the last change."""
        assert self._database is not None
        return self._database.serialize(), self._random.getstate(), self._counts, self._check

    def restore(self, snapshot: Any) -> None:
        """Go on from a snapshot; it stays as it is."""
        content, state, self._counts, self._check = snapshot
        self._random = random.Random()
        self._random.setstate(state)
        self._open(content)

    def close(self) -> None:
        """Free the database."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _open(self, content: bytes) -> None:
        self.close()
        # A tool is called in one thread after another.
        self._database = made = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        made.deserialize(content)
        for setting in ("foreign_keys = ON", "temp_store = MEMORY", f"max_page_count = {_PAGES}"):
            made.execute(f"PRAGMA {setting}")
        made.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LENGTH)
        for name, function in _FIXED.items():
            # An index or a CHECK may use what gives equal values for equal arguments.
            made.create_function(name, -1, partial(function, self._now), deterministic=True)
        for name, function in self._of_this_session().items():
            made.create_function(name, -1, function)
        made.set_authorizer(self._allowed)

    def _of_this_session(self) -> dict[str, Callable[..., Any]]:
        """What SQLite would draw from the machine, or would not copy."""
        return {
            "random": lambda: self._random.getrandbits(64) - (1 << 63),
            "randomblob": lambda size: self._random.randbytes(min(max(1, size), _LENGTH)),
            "last_insert_rowid": lambda: self._counts[0],
            "changes": lambda: self._counts[1],
            "total_changes": lambda: self._counts[2],
        }

    def _allowed(self, action: int, first: str | None, second: str | None, *_: str | None) -> int:
        reason = _REFUSED.get(action, "")
        if action == sqlite3.SQLITE_PRAGMA and (first or "").lower() not in _PRAGMAS:
            reason = f"known pragmas: {', '.join(sorted(_PRAGMAS))}"
        elif action == sqlite3.SQLITE_FUNCTION:
            reason = _FUNCTIONS.get((second or "").lower(), "")
        if not reason:
            return sqlite3.SQLITE_OK
        self._reason = reason
        return sqlite3.SQLITE_DENY

    def _execute(self, sql: str, most: int) -> tuple[list[str], list[tuple[Any, ...]], int]:
        """The columns' names, at most that many rows (-1: all), and how many rows were changed; -1 if none could be."""
        database, last = self._database, time.monotonic() + self._timeout
        assert database is not None
        self._reason = ""
        database.set_progress_handler(lambda: time.monotonic() > last, _STEPS)
        try:
            cursor = database.execute(sql)
            rows = cursor.fetchmany(most) if most >= 0 else cursor.fetchall()
            names = [column[0] for column in cursor.description or ()]
            if cursor.rowcount >= 0:
                self._counts = (cursor.lastrowid or self._counts[0], cursor.rowcount, self._counts[2] + cursor.rowcount)
            changed = cursor.rowcount
            # What is left of the rows would hold the statement open.
            cursor.close()
        except (sqlite3.Error, sqlite3.Warning, OverflowError, UnicodeError, ValueError) as error:
            if time.monotonic() > last and "interrupt" in str(error):
                # The database is as it was before the statement, so the world goes on.
                raise ToolError(f"stopped after {self._timeout:g} s and undone; write a faster statement") from error
            raise ToolError(self._reason or str(error)) from error
        finally:
            database.set_progress_handler(None, 0)
        return names, rows, changed


@lru_cache(maxsize=64)
def _built(script: str) -> bytes:
    """The database that a script builds.

    Raises:
        ValueError: The script is not right.
    """
    made = sqlite3.connect(":memory:")
    try:
        made.executescript(script)
        made.commit()
        # A database without a page cannot be copied.
        made.execute("PRAGMA user_version = 1")
        return made.serialize()
    except sqlite3.Error as error:
        raise ValueError(f"the script of the database: {error}") from error
    finally:
        made.close()


@lru_cache(maxsize=1)
def _plain() -> sqlite3.Connection:
    """A connection whose own functions of dates are used."""
    return sqlite3.connect(":memory:", check_same_thread=False)


def _at(function: str, now: str, *given: Any) -> Any:
    """A function of dates with `now` for the machine's clock."""
    first = 1 if function == "strftime" else 0
    values = list(given) if len(given) > first else [*given, "now"]
    values[first:] = [now if isinstance(v, str) and v.strip().lower() == "now" else v for v in values[first:]]
    return _plainly(function, *values)


def _printed(_: str, pattern: Any = None, *values: Any) -> Any:
    if _WIDE.search(str(pattern)):
        raise ValueError("too wide")
    return _plainly("printf", pattern, *values)


def _plainly(function: str, *values: Any) -> Any:
    return _plain().execute(f"SELECT {function}({', '.join('?' * len(values))})", values).fetchone()[0]


_FIXED: dict[str, Callable[..., Any]] = {
    **{name: partial(_at, name) for name in _CLOCK},
    "current_timestamp": lambda now: _at("datetime", now),
    "current_date": lambda now: _at("date", now),
    "current_time": lambda now: _at("time", now),
    "printf": _printed,
    "format": _printed,
}


def _shown(value: Any) -> str:
    if value is None:
        return "NULL"
    text = f"x'{value.hex()}'" if isinstance(value, bytes) else str(value)
    return text if len(text) <= _CELL else f"{text[:_CELL]}..."
