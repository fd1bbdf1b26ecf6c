"""Arguments against a server's JSON schema: what passes, what is told, and what a model may write at all."""

import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.tools.base import BadArguments
from aepo.tools.mcp.arguments import Checks, plain
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


def asked(ask: Callable[[Checks], Awaitable[Any]], seconds: float = 30.0) -> Any:
    """What one question gives."""

    async def main() -> Any:
        checks = Checks("server", seconds)
        try:
            return await ask(checks)
        finally:
            await checks.close()

    return anyio.run(main)


def refused(schema: dict[str, Any], arguments: dict[str, Any], seconds: float = 30.0) -> str:
    """Why arguments do not fit, or nothing."""

    async def ask(checks: Checks) -> str:
        try:
            await checks.check("tool", schema, arguments)
        except BadArguments as error:
            return str(error)
        return ""

    return str(asked(ask, seconds))


def of(**properties: Any) -> dict[str, Any]:
    """A schema of an object."""
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, '"dish" is a required property'),
        ({"dish": "stew"}, 'dish: "stew" is not one of "soup" or "bread"'),
        ({"dish": "soup", "count": "2"}, 'count: "2" is not of type "integer"'),
        ({"dish": "soup", "count": 0}, "count: 0 is less than the minimum of 1"),
        ({"dish": "soup", "price": 0.005}, "price: 0.005 is not a multiple of 0.01"),
        ({"dish": "soup", "size": 1}, "Additional properties are not allowed ('size' was unexpected)"),
        ({"dish": "soup", "to": {"street": "a", "next": {}}}, 'to.next: "street" is a required property'),
        ({"dish": "soup", "notes": ["a", 1]}, 'notes.1: 1 is not of type "string"'),
        ({"dish": 1, "count": "a"}, 'dish: 1 is not one of "soup" or "bread"; count: "a" is not of type "integer"'),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(arguments: dict[str, Any], said: str) -> None:
    assert refused(ORDER, arguments) == said


def test_what_fits_passes() -> None:
    order = {"dish": "soup", "count": 2, "to": {"street": "a", "next": {"street": "b"}}, "notes": [], "more": None}
    for price in (19.99, 0.07, 1e15, 3, 10**400):
        assert refused(ORDER, order | {"price": price}) == ""


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (r"^[\p{L} ]+$", "Zoë á", "a1"),
        (r"^\p{Script=Greek}+$", "αβ", "ab"),
        (r"^(?<year>\d{4})$", "2024", "24"),
        (r"^[\w-.]+$", "a-b.c", "a b"),
        (r"^[\w-]+$", "a-b", "a b"),
        (r"^[\\w-z]+$", "xyz", "abc"),
        (r"^[!-/:-@[-`{-~]+$", "[~", "a"),
        (r"^[^[\]&&]+$", "ab", "a&b"),
        (r"^(?=.*\d)(?!x).+$", "a1", "x1"),
        (r"^\u{1F600}\u00e9$", "😀é", "é"),
        (r"^\d$", "3", "٣"),
    ],
)
def test_patterns_are_read_as_javascript_reads_them(pattern: str, good: str, bad: str) -> None:
    schema = of(name={"pattern": pattern})
    assert refused(schema, {"name": good}) == "" and "does not match" in refused(schema, {"name": bad})


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        (of(a={"pattern": "("}), {"a": "b"}),
        (of(a={"type": "string", "pattern": r"(?<n>a)\k<n>"}), {"a": "b"}),
        (of(a={"not": {"pattern": "("}}), {"a": "b"}),
        (
            {"type": "object", "patternProperties": {"(": {"type": "integer"}}, "additionalProperties": False},
            {"a": "b"},
        ),
        (of(a={"pattern": r"(?=(.*)x)(.*)\1$"}), {"a": "a" * 100_000}),
    ],
)
def test_a_pattern_that_cannot_be_read_is_left_to_the_server(schema: dict[str, Any], arguments: dict[str, Any]) -> None:
    assert refused(schema, arguments) == ""


def test_what_is_not_checked_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    async def twice(checks: Checks) -> None:
        for _ in range(2):
            await checks.check("tool", of(a={"pattern": "("}), {"a": "b"})

    with caplog.at_level(logging.WARNING):
        asked(twice)
    assert [record.getMessage() for record in caplog.records] == [
        "MCP server server: tool 'tool': the pattern '(' cannot be read here; the server alone checks it"
    ]


CATASTROPHES = [r"^([a-zA-Z0-9]+[._-]?)+@[a-z]+\.[a-z]+$", r"^(a+)+$", r"^(a|a)*$", r"^(a|aa)+$", r"^(?=.*a)(a+)+$"]


@pytest.mark.parametrize("pattern", CATASTROPHES)
@pytest.mark.parametrize("length", [26, 100_000])
def test_no_text_makes_a_pattern_slow(pattern: str, length: int) -> None:
    assert "does not match" in refused(of(to={"pattern": pattern}), {"to": "a" * length + "!"})


def doubling(levels: int) -> dict[str, Any]:
    """A schema whose work doubles with each level."""
    twice = {f"s{i}": {"allOf": [{"$ref": f"#/$defs/s{i + 1}"}] * 2} for i in range(levels)}
    return {**of(x={"$ref": "#/$defs/s0"}), "$defs": {**twice, f"s{levels}": {"type": "integer"}}}


def test_a_schema_that_takes_too_long_is_stopped_and_the_loop_goes_on() -> None:
    ticks: list[float] = []

    async def beat() -> None:
        while True:
            ticks.append(time.monotonic())
            await anyio.sleep(0)

    async def ask(checks: Checks) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(beat)
            await checks.check("tool", doubling(60), {"x": 1})
            tasks.cancel_scope.cancel()
        with pytest.raises(BadArguments, match="they do not fit its schema"):
            await checks.check("tool", doubling(22), {"x": "a"})
        with pytest.raises(BadArguments, match="integer"):
            await checks.check("tool", doubling(2), {"x": "a"})

    asked(ask, 1.0)
    assert len(ticks) > 1000


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
        ({"dish": "soup", "price": 10**5000}, "not plain JSON"),
        ({"dish": "soup", "more": object()}, "not plain JSON"),
        ({"dish": "soup", "more": "x" * (1 << 20)}, "longer than 1048576 characters"),
    ],
)
def test_what_no_server_should_get_is_a_bad_argument_too(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ToolError, match=said):
        plain(arguments)


# Half of a surrogate pair may stand in what a model wrote.
words = st.text("aé😀\n\0\ud800\udc00", max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=10,
)


@given(st.lists(st.dictionaries(st.sampled_from([*ORDER["properties"], "x", "\ud800"]), values)))  # type: ignore[misc]
def test_whatever_a_model_writes_is_either_refused_or_can_be_sent(written: list[dict[str, Any]]) -> None:
    async def ask(checks: Checks) -> None:
        for arguments in written:
            try:
                checked = plain(arguments)
                await checks.check("tool", ORDER, checked)
            except ToolError:
                continue
            json.dumps(checked, allow_nan=False, ensure_ascii=False).encode("utf-8")

    asked(ask)


def deep(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(levels):
        schema = of(a=schema)
    return schema


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "array"}, "its arguments have the type 'array', not \"object\""),
        ({}, "its arguments have the type None"),
        (of(a={"type": "text"}), 'no valid JSON schema: "text" is not valid'),
        (of(a={"$ref": "#/$defs/a"}), r"Pointer '/\$defs/a' does not exist"),
        (of(a={"$ref": "http://127.0.0.1:1/a.json"}), "Retrieval is disabled"),
        (deep(100_000), "nested too deep"),
    ],
)
def test_a_schema_that_cannot_be_checked_is_refused_and_nothing_is_fetched(schema: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        asked(lambda checks: checks.usable("tool", schema))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"type": "object", "$schema": "https://example.org/of-my-own"},
        of(a={"const": {"$ref": "#/nowhere"}}),
        of(**{"$ref": {"type": "string"}}),
        of(**{f"p{i}": {"enum": [f"v{k}" for k in range(50)]} for i in range(2000)}),
        doubling(60),
    ],
)
def test_other_odd_schemas_do_no_harm(schema: dict[str, Any]) -> None:
    asked(lambda checks: checks.usable("tool", schema), 2.0)
