"""Arguments against a server's JSON schema: what passes, what is told, and what a model may write at all."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.tools.mcp.arguments import checker
from aepo.types import ToolError

ORDER = {
    "type": "object",
    "properties": {
        "dish": {"enum": ["soup", "bread"]},
        "count": {"type": "integer", "minimum": 1},
        "price": {"type": "number", "multipleOf": 0.01},
        "to": {"$ref": "#/$defs/place"},
        "notes": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        "more": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
    "required": ["dish"],
    "additionalProperties": False,
    "$defs": {
        "place": {
            "type": "object",
            "properties": {"street": {"type": "string"}, "next": {"$ref": "#/$defs/place"}},
            "required": ["street"],
        }
    },
}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "'dish' is a required property"),
        ({"dish": "stew"}, "dish: 'stew' is not one of ['soup', 'bread']"),
        ({"dish": "soup", "count": "2"}, "count: '2' is not of type 'integer'"),
        ({"dish": "soup", "count": 0}, "count: 0 is less than the minimum of 1"),
        ({"dish": "soup", "size": 1}, "Additional properties are not allowed ('size' was unexpected)"),
        ({"dish": "soup", "to": {"street": "a", "next": {}}}, "to.next: 'street' is a required property"),
        ({"dish": "soup", "notes": ["a", 1]}, "notes.1: 1 is not of type 'string'"),
        ({"dish": "soup", "more": 1}, "more: 1 is not valid under any of the given schemas"),
        ({"dish": 1, "count": "a"}, "dish: 1 is not one of ['soup', 'bread']; count: 'a' is not of type 'integer'"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ToolError) as caught:
        checker(ORDER)(arguments)
    assert str(caught.value) == said


def test_what_fits_passes_unchanged() -> None:
    order = {"dish": "soup", "count": 2, "to": {"street": "a", "next": {"street": "b"}}, "notes": [], "more": None}
    assert checker(ORDER)(order) == order


def nested(depth: int) -> dict[str, Any]:
    value: Any = "x"
    for _ in range(depth):
        value = {"next": value, "street": "a"}
    return {"dish": "soup", "to": value}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (nested(63), "nested more than 64 deep"),
        (nested(100_000), "nested too deep"),
        ({"dish": "soup", "price": float("nan")}, "not plain JSON"),
        ({"dish": "soup", "price": 10**400}, "not plain JSON"),
        ({"dish": "soup", "more": object()}, "not plain JSON"),
    ],
)
def test_what_no_server_should_get_is_a_bad_argument_too(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ToolError, match=said):
        checker(ORDER)(arguments)


# Half of a surrogate pair may stand in what a model wrote.
words = st.text("aé😀\n\0\ud800\udc00", max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([*ORDER["properties"], "x", "\ud800"]), values))  # type: ignore[misc]
def test_whatever_a_model_writes_is_either_refused_or_can_be_sent(arguments: dict[str, Any]) -> None:
    for schema in (ORDER, {"type": "object"}):
        try:
            checked = checker(schema)(arguments)
        except ToolError:
            continue
        json.dumps(checked, allow_nan=False, ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "array"}, "its arguments have the type 'array', not \"object\""),
        ({}, "its arguments have the type None"),
        ({"type": "object", "properties": {"a": {"type": "text"}}}, "no valid JSON schema: 'text' is not valid"),
        (
            {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}},
            r"refers to '#/\$defs/a', which it does not hold",
        ),
        ({"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:1/a.json"}}}, "which it does not hold"),
    ],
)
def test_a_schema_that_cannot_be_checked_is_refused_and_nothing_is_fetched(schema: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        checker(schema)
