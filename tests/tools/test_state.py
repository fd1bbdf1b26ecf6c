"""Tools that could remember something are told of; tools that cannot are not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

import aepo
from aepo.tools.state import state_of, warn_of_state

COUNT = 0
PRICES = {"pen": 1.5}


class Cart:
    def __init__(self) -> None:
        self.items: list[str] = []

    def put(self, item: str) -> str:
        """Put something in.

        Args:
            item: What.
        """
        self.items.append(item)
        return str(len(self.items))

    @classmethod
    def of_class(cls, item: str) -> str:
        return item

    @staticmethod
    def of_nobody(item: str) -> str:
        return item


def made(held: Any) -> Callable[[str], str]:
    def tool(item: str) -> str:
        return str(held)

    return tool


def counting() -> Callable[[str], str]:
    count = 0

    def tool(item: str) -> str:
        nonlocal count
        count += 1
        return str(count)

    return tool


def with_global(item: str) -> str:
    global COUNT
    COUNT += 1
    return str(COUNT)


def plain(item: str) -> str:
    found = [price for name, price in PRICES.items() if name == item]
    return str(sorted(found, key=lambda price: (price, len(found))))


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (Cart().put, "is a method of a Cart"),
        (made([]), "holds the list 'held'"),
        (made({}), "holds the dict 'held'"),
        (made(set()), "holds the set 'held'"),
        (counting(), "sets 'count', which is outside of it"),
        (with_global, "sets 'COUNT', which is outside of it"),
        (plain, None),
        (made("text"), None),
        (made((1, 2)), None),
        (Cart.of_class, None),
        (Cart.of_nobody, None),
        (len, None),
    ],
)
def test_what_speaks_for_state(function: Callable[..., Any], why: str | None) -> None:
    assert state_of(function) == why


def test_a_line_names_the_tool_the_reason_and_the_page(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_state([aepo.tool(Cart().put), aepo.tool(name="pure", pure=True)(Cart().put)])
    (line,) = caplog.messages
    assert line.startswith("tool put may keep state: it is a method of a Cart") and "docs/environments.md" in line


def test_our_own_tools_are_not_suspected(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_state([*aepo.atlas().tools, aepo.search([aepo.Document("a", "b")])])
    assert caplog.messages == []
