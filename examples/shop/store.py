"""What a shop keeps: articles, visits, carts and orders, in SQLite."""

from __future__ import annotations

import random
import secrets
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

KINDS = ("mug", "lamp", "scarf", "bag", "notebook", "bottle")
COLOURS = ("red", "blue", "green", "black")
STYLES = ("plain", "striped", "large", "small", "classic")
SCHEMA = """
create table article (id integer primary key, style text, kind text, cents integer);
create table visit (id text primary key, seed integer, requests integer, version integer);
create table cart (visit text, article integer, colour text, number integer, primary key (visit, article, colour));
create table bought (visit text primary key, name text, delivery text);
create table line (visit text, article integer, colour text, number integer);
"""


@dataclass(frozen=True)
class Line:
    """A line of a cart or of an order."""

    article: int
    colour: str
    number: int


@dataclass(frozen=True)
class Order:
    """What was bought."""

    name: str
    delivery: str
    lines: tuple[Line, ...]


class Store:
    """The database of one shop. Calls may come from several threads."""

    def __init__(self, seed: int = 0) -> None:
        """Fill the shelves."""
        self._database = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._database.executescript(SCHEMA)
        self._lock = threading.Lock()
        draw = random.Random(seed)
        articles = [(style, kind, draw.randrange(300, 4000, 5)) for kind in KINDS for style in STYLES]
        draw.shuffle(articles)
        for article in articles:
            self.ask("insert into article (style, kind, cents) values (?, ?, ?)", *article)

    def ask(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement."""
        with self._lock:
            return self._database.execute(statement, values).fetchall()

    def find(self, words: Sequence[str]) -> list[tuple[int, str, int]]:
        """Articles whose name has all words: number, name and price in cents."""
        rows = self.ask("select id, style || ' ' || kind, cents from article order by id")
        return [row for row in rows if all(word.lower() in row[1] for word in words)]

    def article(self, number: int) -> tuple[int, str, int] | None:
        """One article."""
        return next((row for row in self.find(()) if row[0] == number), None)

    def enter(self, seed: int) -> str:
        """Begin a visit; its name is a secret of the browser and the shop."""
        visit = secrets.token_urlsafe(16)
        self.ask("insert into visit values (?, ?, 0, 0)", visit, seed)
        return visit

    def request(self, visit: str) -> tuple[int, int] | None:
        """Count a request: the seed of the visit and the number of the request; None if there is no such visit."""
        rows = self.ask("update visit set requests = requests + 1 where id = ? returning seed, requests", visit)
        return rows[0] if rows else None

    def version(self, visit: str, more: int = 0) -> int:
        """How often a cart has changed; `more` changes are added first."""
        found = self.ask("update visit set version = version + ? where id = ? returning version", more, visit)
        return int(found[0][0])

    def cart(self, visit: str) -> list[Line]:
        """The lines of a cart."""
        rows = self.ask("select article, colour, number from cart where visit = ? order by article, colour", visit)
        return [Line(*row) for row in rows]

    def put(self, visit: str, article: int, colour: str, number: int) -> None:
        """Set how many of an article are in a cart; 0 removes it."""
        self.ask("insert or replace into cart values (?, ?, ?, ?)", visit, article, colour, number)
        self.ask("delete from cart where number = 0")
        self.version(visit, 1)

    def buy(self, visit: str, name: str, delivery: str) -> None:
        """Turn a cart into an order."""
        self.ask("insert into bought values (?, ?, ?)", visit, name, delivery)
        self.ask("insert into line select * from cart where visit = ?", visit)
        self.ask("delete from cart where visit = ?", visit)

    def order(self, visit: str) -> Order | None:
        """What a visit has bought."""
        bought = self.ask("select name, delivery from bought where visit = ?", visit)
        lines = self.ask("select article, colour, number from line where visit = ? order by article, colour", visit)
        return Order(bought[0][0], bought[0][1], tuple(Line(*line) for line in lines)) if bought else None

    def leave(self, visit: str) -> None:
        """Forget a visit."""
        for table, column in (("visit", "id"), ("cart", "visit"), ("bought", "visit"), ("line", "visit")):
            self.ask(f"delete from {table} where {column} = ?", visit)
