"""What JSON gives back as it was, and why it does not."""

from __future__ import annotations

import datetime
import json
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.files.json_data import MOST_DEEP, problem

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


class Colour(StrEnum):
    RED = "red"


@given(PLAIN)
def test_what_is_let_through_comes_back_equal(value: Any) -> None:
    assert problem(value) is None
    assert json.loads(json.dumps(value)) == value
    json.dumps(value, ensure_ascii=False).encode()


@pytest.mark.parametrize("value", [Colour.RED, np.float64(0.5), np.str_("a"), {"a": [None, True, 1.5, "é"]}])
def test_what_only_looks_special_is_let_through(value: Any) -> None:
    assert problem(value) is None and json.loads(json.dumps(value)) == value


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)
DEEP: Any = "x"
for _ in range(MOST_DEEP + 1):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (float("nan"), "it['m'] is nan"),
        ([1.0, float("-inf")], "it['m'][1] is -inf"),
        ((1, 2), "it['m'] is a tuple, which JSON cannot hold: write a list"),
        ({1}, "it['m'] is a set"),
        (frozenset(), "it['m'] is a frozenset"),
        (b"x", "it['m'] is a bytes"),
        (datetime.date(2024, 5, 1), "it['m'] is a date"),
        (datetime.datetime(2024, 5, 1), "it['m'] is a datetime"),
        (Path("x"), "it['m'] is a PosixPath"),
        (np.int64(3), "it['m'] is a int64"),
        (np.bool_(True), "it['m'] is a bool"),
        (np.zeros(2), "it['m'] is a ndarray"),
        (len, "it['m'] is a builtin_function_or_method"),
        (2j, "it['m'] is a complex"),
        ({(1, 2): 3}, "it['m'] has the key (1, 2)"),
        ({1: 3}, "it['m'] has the key 1"),
        ({None: 3}, "it['m'] has the key None"),
        ("half \ud83c", "it['m'] holds half of a surrogate pair"),
        ({"half \udc00": 1}, "it['m'] has the key"),
        (10**1300, "it['m'] is a number of more than 4096 bits"),
        (CIRCLE, "deeper than 50"),
        (DEEP, "deeper than 50"),
    ],
)
def test_what_json_cannot_hold_is_named_with_its_place(value: Any, words: str) -> None:
    assert words in (problem({"m": value}) or "")
