"""A database of one's own for each path: forks that are the same to the bit, and statements that reach nothing else."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import pytest

import aepo
from aepo.environments.sql import SqlSession
from aepo.types import Sample, ToolError

SHOP = """
CREATE TABLE goods(id INTEGER PRIMARY KEY, name TEXT UNIQUE, stock INTEGER CHECK (stock >= 0));
CREATE TABLE orders(good INTEGER REFERENCES goods(id), at TEXT DEFAULT CURRENT_TIMESTAMP, price REAL);
INSERT INTO goods(name, stock) VALUES ('pen', 3), ('cup', 1), ('hat', 0);
"""
CHECK = "SELECT count(*) = 1 FROM orders WHERE good = 2"
STATEMENTS = (
    "SELECT * FROM goods ORDER BY id",
    "INSERT INTO orders(good, price) VALUES (2, random())",
    "INSERT INTO orders(good, price) VALUES (9, 1)",
    "UPDATE goods SET stock = stock - 1 WHERE id = abs(random()) % 3 + 1",
    "SELECT last_insert_rowid(), changes(), total_changes(), hex(randomblob(4))",
    "INSERT INTO goods(name, stock) VALUES (hex(randomblob(3)), 1) RETURNING id",
    "DELETE FROM orders WHERE rowid = 1",
    "SELECT count(*), max(at), date('now'), datetime('now', '+1 day'), strftime('%s', 'now') FROM orders",
    "SELECT nothing FROM nowhere",
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n",
)


def opened(seed: int = 7) -> SqlSession:
    world = SqlSession(SHOP)
    world.reset(seed, check=CHECK)
    return world


def said(world: SqlSession, sql: str) -> str:
    try:
        return world.query(sql)
    except ToolError as error:
        return f"error: {error}"


def test_the_rows_are_shown_and_the_final_database_is_the_reward() -> None:
    world = opened()
    assert world.query("SELECT id, name FROM goods WHERE stock > 0") == "id | name\n1 | pen\n2 | cup"
    assert world.query("SELECT * FROM orders") == "good | at | price\nno rows"
    assert world.get_reward() == 0.0
    assert world.query("INSERT INTO orders VALUES (2, NULL, 1.5)") == "1 row changed"
    assert (world.get_reward(), world.state) == (1.0, {"goods": 3, "orders": 1})
    world.query("DROP TABLE orders")
    assert world.get_reward() == 0.0
    world.close()


@pytest.mark.parametrize("seed", range(20))
def test_two_at_a_time_a_replay_and_a_snapshot_go_the_same_way(seed: int) -> None:
    draw = random.Random(seed)
    first = draw.choices(STATEMENTS, k=12)
    one, other, fork = opened(), opened(), SqlSession(SHOP)
    texts = [(said(one, sql), said(other, sql)) for sql in first]
    assert all(mine == its for mine, its in texts)
    assert texts[-1][0] == said(_after(first[:-1]), first[-1])
    snapshot = one.snapshot()
    then = draw.choices(STATEMENTS, k=8)
    alone = [said(one, sql) for sql in then]
    assert [said(other, sql) for sql in then] == alone
    # Several branches begin at one snapshot, one after the other.
    for _ in range(2):
        fork.restore(snapshot)
        assert [said(fork, sql) for sql in then] == alone
        assert fork.get_reward() == one.get_reward() and fork.state == one.state
    for world in (one, other, fork):
        world.close()


def _after(statements: list[str]) -> SqlSession:
    world = opened()
    for sql in statements:
        said(world, sql)
    return world


@pytest.mark.parametrize(
    "sql",
    [
        "ATTACH '@/other.db' AS other",
        "VACUUM INTO '@/copy.db'",
        "SELECT load_extension('@/evil.so')",
        "SELECT writefile('@/a', 'x')",
        "CREATE VIRTUAL TABLE v USING fts5(a)",
        "CREATE TEMP TABLE t(x)",
        "CREATE TEMP VIEW v AS SELECT 1",
        "PRAGMA temp_store_directory = '@'",
        "PRAGMA writable_schema = ON",
        "PRAGMA max_page_count = 99999999",
        "SELECT * FROM pragma_database_list",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT a",
        "SELECT 1; DROP TABLE goods",
        "SELECT zeroblob(1 << 30)",
        "SELECT printf('%.*c', 1 << 30, 'x')",
        "SELECT printf('%.99999999c', 'x')",
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n",
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n ORDER BY -x",
        "CREATE TABLE large AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) "
        "SELECT hex(zeroblob(60000)) FROM n",
        "DELETE FROM sqlite_schema",
        "SELECT 'a\0b'",
        "SELECT '\ud800'",
        "SELECT (((",
    ],
)
def test_a_statement_that_reaches_out_or_never_ends_is_refused_and_changes_nothing(sql: str, tmp_path: Path) -> None:
    world = SqlSession(SHOP, timeout=0.3)
    world.reset(1)
    before = world.snapshot()
    with pytest.raises(ToolError):
        world.query(sql.replace("@", str(tmp_path)))
    assert list(tmp_path.iterdir()) == []
    assert world.query("SELECT count(*) FROM goods") == "count(*)\n3"
    assert world.snapshot()[0] == before[0]  # type: ignore[index]
    world.close()


def test_it_is_an_environment_that_can_be_checked() -> None:
    samples = [Sample("Sell a cup.", id=f"s{number}", metadata={"check": CHECK}) for number in range(2)]
    assert aepo.check_environment(aepo.environment(partial(SqlSession, SHOP), inline=True), samples) == []


def test_long_results_are_bounded() -> None:
    world = SqlSession(rows=3)
    world.reset(1)
    many = world.query("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n")
    assert many == "x\n1\n2\n3\n[more than 3 rows; use LIMIT or count(*)]"
    assert len(world.query("SELECT hex(zeroblob(50000)), x'00ff', NULL")) < 400
    world.close()


def test_a_script_that_is_wrong_says_so() -> None:
    with pytest.raises(ValueError, match="the script of the database: near"):
        SqlSession().reset(1, script="CREATE nonsense")
