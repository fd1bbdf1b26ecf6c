"""The file of tool results: what it keeps, beside whom, and what it says when it cannot."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from aepo.tools import mounts
from aepo.tools.cache.database import CacheRefused
from aepo.tools.cache.store import CacheUnavailable, Store
from tests.tools.cache.writer import entry_of, text_of

HERE = Path(__file__).parent
ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "tools.sqlite", wait=0.05)
    opened.open()
    yield opened
    opened.close()


@contextmanager
def locked(path: Path, how: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Another program holds the file."""
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute(how)
        yield
    finally:
        other.close()


def in_child(job: Callable[[], None]) -> None:
    """Run a job in a forked process; its exception is this test's failure."""
    child = multiprocessing.get_context("fork").Process(target=job)
    child.start()
    child.join(60)
    assert child.exitcode == 0


def test_what_is_put_is_there_for_this_process_and_the_next(store: Store, tmp_path: Path) -> None:
    put = entry_of("a")
    assert store.put(put) == (put, True)
    assert store.get("a") == put and store.get("b") is None
    later = Store(tmp_path / "tools.sqlite", read_only=True)
    later.open()
    assert later.get("a") == put
    later.close()
    later.close()


def test_the_first_result_of_a_key_stays(store: Store) -> None:
    store.put(entry_of("a"))
    kept, in_file = store.put(replace(entry_of("a"), text="another"))
    assert kept.text == text_of("a") and in_file


def test_a_recording_replaces_what_was_there_once_and_goes_on_where_it_was(tmp_path: Path) -> None:
    def put(run: str, again: bool, text: str) -> str:
        store = Store(tmp_path / "tools.sqlite")
        store.open()
        store.begin_recording(run, again)
        kept, _ = store.put(replace(entry_of("a"), text=text))
        store.close()
        return kept.text

    assert put("one", False, "first") == "first"
    assert put("one", True, "second") == "first", "a resumed run has its answer"
    assert put("one", False, "third") == "third"
    assert put("two", True, "fourth") == "fourth", "another run has none to go on with"


@pytest.mark.parametrize("text", ["", "a\0b", "\U0001f600 é\r\n", "x" * 3_000_000])
def test_any_text_comes_back_as_it_was(store: Store, text: str) -> None:
    store.put(replace(entry_of("a"), text=text))
    found = store.get("a")
    assert found is not None and found.text == text


def test_killed_writers_lose_nothing_that_was_acknowledged_and_tear_nothing(tmp_path: Path) -> None:
    file, acknowledged = tmp_path / "tools.sqlite", []
    for round_ in range(3):
        writers = [
            subprocess.Popen(
                [sys.executable, str(HERE / "writer.py"), str(file), f"{round_}-{number}"],
                env=ENVIRONMENT,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(3)
        ]
        try:
            # Each is killed at another moment, amid its own and the others' writes.
            for number, writer in enumerate(writers):
                assert writer.stdout is not None
                acknowledged += [writer.stdout.readline().strip() for _ in range(10 + 7 * number)]
        finally:
            for writer in writers:
                writer.send_signal(signal.SIGKILL)
        for writer in writers:
            assert writer.stdout is not None
            # Half a line is no acknowledgement.
            acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
            writer.stdout.close()
            assert writer.wait() == -signal.SIGKILL
    assert len(acknowledged) >= 3 * (10 + 17 + 24) and all(acknowledged)
    store = Store(file)
    store.open()
    kept = {entry.key: entry.text for entry in store.entries()}
    assert [key for key in acknowledged if key not in kept] == []
    assert [key for key, text in kept.items() if text != text_of(key)] == []
    assert store.put(entry_of("after"))[1]
    store.close()
    with sqlite3.connect(file) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_many_processes_may_make_the_file_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    together = context.Barrier(6)

    def make(name: str) -> None:
        store = Store(tmp_path / "tools.sqlite", wait=60)
        together.wait(60)
        store.open()
        assert store.put(entry_of(name))[1]
        store.close()

    children = [context.Process(target=make, args=(str(number),)) for number in range(6)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 6
    store = Store(tmp_path / "tools.sqlite", read_only=True)
    store.open()
    assert sorted(entry.key for entry in store.entries()) == [str(number) for number in range(6)]
    store.close()


def test_threads_share_it(store: Store) -> None:
    def put(name: int) -> None:
        for number in range(20):
            store.put(entry_of(f"{name}-{number}"))

    threads = [threading.Thread(target=put, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(store.entries())) == 160


def test_a_forked_process_opens_it_anew_and_leaves_the_parent_its_own(store: Store) -> None:
    store.put(entry_of("parent"))

    def child() -> None:
        assert store.get("parent") is not None
        assert store.put(entry_of("child"))[1]
        store.close()

    in_child(child)
    assert store.get("child") is not None
    assert store.put(entry_of("after"))[1]


def test_what_waits_for_a_lock_is_found_and_written_with_the_next(store: Store, tmp_path: Path) -> None:
    with locked(tmp_path / "tools.sqlite"):
        assert store.put(entry_of("a"))[1] is False
        assert store.put(replace(entry_of("a"), text="another"))[0].text == text_of("a")
        assert store.put(entry_of("b"))[1] is False
        assert store.waiting == 2 and store.get("b") is not None
    assert store.put(entry_of("c"))[1] is True
    assert store.waiting == 0 and {entry.key for entry in store.entries()} == {"a", "b", "c"}


def test_what_waits_is_written_when_it_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "tools.sqlite"
    store = Store(file, wait=0.05)
    store.open()
    with locked(file):
        store.put(entry_of("a"))
    store.close()
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT key FROM results").fetchall() == [("a",)]
    connection.close()


def test_a_file_that_stays_locked_says_what_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "tools.sqlite"
    store = Store(file, wait=0.05)
    store.open()
    with locked(file):
        store.put(entry_of("a"))
        with pytest.raises(CacheUnavailable, match=r"1 tool results could not be written to .*: database is locked"):
            store.close()


def test_a_file_that_is_locked_when_it_is_opened_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "tools.sqlite", wait=0.05)
    store.open()
    store.put(entry_of("a"))
    store.close()
    other = sqlite3.connect(tmp_path / "tools.sqlite", isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(CacheRefused, match=r"is locked by another process: wait for it, or give tools.cache another"):
        store.open()
    other.close()
    store.open()
    assert store.get("a") is not None
    store.close()


@pytest.mark.parametrize("size", [1, 100, 5000])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, size: int) -> None:
    file = tmp_path / "tools.sqlite"
    file.write_bytes(b"x" * size)
    for read_only in (False, True):
        with pytest.raises(CacheRefused, match=r"is no tool cache, or damaged \(.*\): move it away"):
            Store(file, read_only=read_only).open()
    assert file.read_bytes() == b"x" * size


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tools.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE results (key TEXT)")
    connection.close()
    with pytest.raises(CacheRefused, match=r"is a database of something else, no tool cache: give tools.cache another"):
        Store(file).open()


def test_another_version_of_the_file_is_refused(store: Store, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "tools.sqlite") as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(CacheRefused, match="has format 7, this version of aepo reads 1"):
        Store(tmp_path / "tools.sqlite").open()


@pytest.fixture
def damaged(tmp_path: Path) -> Iterator[Store]:
    """Open, with a file in which all pages but the schema's have become garbage since."""
    file = tmp_path / "tools.sqlite"
    store = Store(file)
    store.open()
    for number in range(20):
        store.put(entry_of(str(number)))
    store.close()
    store.open()
    with file.open("r+b") as data:
        data.seek(4096)
        data.write(b"\xff" * (file.stat().st_size - 4096))
    yield store
    with suppress(CacheUnavailable):
        store.close()


def test_a_file_that_is_damaged_while_it_is_open_cannot_be_read_but_still_loses_nothing(damaged: Store) -> None:
    with pytest.raises(CacheUnavailable, match=r"cannot read tool cache .*: database disk image is malformed"):
        damaged.get("7")
    with pytest.raises(CacheUnavailable, match="cannot read tool cache"):
        list(damaged.entries())
    assert damaged.put(entry_of("new"))[1] is False
    assert damaged.get("new") is not None and damaged.other_versions("search", "{}") == []
    with pytest.raises(CacheUnavailable, match=r"1 tool results could not be written .*: database disk image is malf"):
        damaged.close()


def test_a_damaged_file_is_refused(damaged: Store) -> None:
    with pytest.raises(CacheRefused, match=r"is no tool cache, or damaged \(.*\): move it away"):
        Store(damaged.path).open()


def as_nobody(job: Callable[[], None]) -> Callable[[], None]:
    """The superuser may write everywhere."""

    def dropped() -> None:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        job()

    return dropped


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A folder that others may enter, below however many of pytest's own."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and not folder.stat().st_mode & 0o001:
            folder.chmod(0o755)
    return tmp_path


def test_a_read_only_file_can_be_replayed_and_not_written(open_folder: Path) -> None:
    folder = open_folder / "kept"
    store = Store(folder / "tools.sqlite")
    store.open()
    store.put(entry_of("a"))
    store.close()
    (folder / "tools.sqlite").chmod(0o444)
    folder.chmod(0o555)

    def job() -> None:
        reader = Store(folder / "tools.sqlite", read_only=True)
        reader.open()
        assert reader.get("a") is not None
        reader.close()
        with pytest.raises(CacheRefused, match=r"cannot be written .*: give tools.cache another path, or use tools"):
            Store(folder / "tools.sqlite", wait=0.05).open()
        with pytest.raises(CacheRefused, match=r"cannot make tool cache .*: Permission denied"):
            Store(folder / "more" / "tools.sqlite").open()

    try:
        in_child(as_nobody(job))
    finally:
        folder.chmod(0o755)


def test_a_full_disk_loses_nothing_while_the_process_lives(tmp_path: Path) -> None:
    file = tmp_path / "tools.sqlite"

    def job() -> None:
        import resource

        store = Store(file, wait=0.05)
        store.open()
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        in_file = [store.put(entry_of(str(number)))[1] for number in range(100)]
        assert in_file[0] and not in_file[-1] and store.waiting > 0
        assert all(store.get(str(number)) is not None for number in range(100))
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert store.put(entry_of("room"))[1] and store.waiting == 0
        store.close()

    in_child(job)
    store = Store(file, read_only=True)
    store.open()
    assert {entry.key: entry.text for entry in store.entries()} == {
        key: text_of(key) for key in [*map(str, range(100)), "room"]
    }
    store.close()


def test_more_than_memory_should_hold_is_refused(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aepo.tools.cache.store._MOST_WAITING", 5000)
    with locked(tmp_path / "tools.sqlite"):
        store.put(entry_of("a"))
        store.put(entry_of("b"))
        with pytest.raises(CacheUnavailable, match="more results wait than memory should hold"):
            store.put(entry_of("c"))
    assert store.put(entry_of("c"))[1]


def test_a_network_file_system_is_refused_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(f"30 1 0:40 / {tmp_path} rw,relatime shared:9 - nfs4 server:/export rw\n")
    monkeypatch.setattr(mounts, "MOUNTS", table)
    file = tmp_path / "deep" / "tools.sqlite"
    with pytest.raises(CacheRefused, match=r"on a network file system \(nfs4\).*local disk.*unsafe_network_cache=true"):
        Store(file).open()
    assert not file.parent.exists()
    allowed = Store(file, unsafe_network=True)
    allowed.open()
    allowed.close()


def test_entries_are_filtered_and_pruned_by_tool_and_age(store: Store) -> None:
    for number, (tool, stored) in enumerate([("search", 10.0), ("search", 20.0), ("python", 10.0)]):
        store.put(replace(entry_of(str(number)), tool=tool, stored=stored))
    assert [entry.key for entry in store.entries()] == ["0", "2", "1"]
    assert [entry.key for entry in store.entries("search")] == ["0", "1"]
    assert [entry.key for entry in store.entries(before=20.0)] == ["0", "2"]
    assert store.prune("search", 20.0) == 1
    assert [entry.key for entry in store.entries()] == ["2", "1"]
    assert store.prune("nobody") == 0
