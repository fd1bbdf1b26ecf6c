"""Lists and results of any shape: what becomes of them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.tools.mcp.offer import Offer
from aepo.tools.mcp.result import text_of
from aepo.types import ToolError

NOTHING = {"type": "object"}
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def members(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of these members, of any value."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, anything))


@given(st.lists(anything | members("name", "description", "title", "inputSchema", "annotations", "outputSchema")))  # type: ignore[misc]
def test_no_entry_costs_a_good_one(entries: list[Any]) -> None:
    offer = Offer()
    offer.add([*entries, {"name": "good one", "inputSchema": NOTHING}])
    assert offer.tools["good one"].schema == NOTHING


def test_pages_that_repeat_a_tool_are_no_two_tools() -> None:
    offer = Offer()
    for _ in range(2):
        offer.add([{"name": "a", "inputSchema": NOTHING}])
    assert list(offer.tools) == ["a"] and offer.refused == {}


@pytest.mark.parametrize(
    ("annotations", "repeatable"),
    [({"readOnlyHint": True}, True), ({"idempotentHint": True}, True), ({"readOnlyHint": "yes"}, False), (3, False)],
)
def test_only_a_clear_hint_lets_a_call_be_repeated(annotations: Any, repeatable: bool) -> None:
    offer = Offer()
    offer.add([{"name": "a", "inputSchema": NOTHING, "annotations": annotations}])
    assert offer.tools["a"].repeatable is repeatable


TEXT = {"type": "text", "text": "x"}
DEEP: Any = 1
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"content": [TEXT, TEXT], "structuredContent": 5}, "x\nx"),
        ({"content": [], "structuredContent": {"n": 1}}, '{"n": 1}'),
        ({"structuredContent": 5}, "5"),
        ({"content": None}, "done; it returned nothing"),
        ({"content": []}, "done; it returned nothing"),
        ({"content": "words"}, "words"),
        ({"content": TEXT, "isError": None}, "x"),
        ({"content": ["words", 3, None]}, "words\n3\nnull"),
        ({"content": [{"type": "hologram", "data": "x"}, TEXT]}, "[hologram omitted]\nx"),
        ({"content": [{"type": "text"}, {"type": "text", "text": None}]}, "[text omitted]\n[text omitted]"),
        ({"content": [{"text": "x"}, {"type": 3}]}, "[data omitted]\n[data omitted]"),
        ({"content": [{"type": "image", "data": "AAAA"}, {"type": "audio"}]}, "[image omitted]\n[audio omitted]"),
        ({"content": [{"type": "resource", "resource": {"text": "held"}}]}, "held"),
        ({"content": [{"type": "resource", "resource": {"mimeType": "a/pdf", "blob": "AA"}}]}, "[a/pdf omitted]"),
        ({"content": [{"type": "resource", "resource": None}]}, "[resource omitted]"),
        ({"content": [{"type": "resource_link", "uri": "file:///a"}]}, "[link: file:///a]"),
    ],
)
def test_a_result_of_any_shape_is_read(result: dict[str, Any], text: str) -> None:
    assert text_of(result) == text


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({}, "something that is no result"),
        ({"other": 1}, "something that is no result"),
        ({"content": [TEXT], "isError": True}, "^x$"),
        ({"isError": True, "content": []}, "does not say why"),
        ({"structuredContent": DEEP}, "nested too deep"),
    ],
)
def test_an_error_is_told(result: dict[str, Any], said: str) -> None:
    with pytest.raises(ToolError, match=said):
        text_of(result)


@given(members("content", "structuredContent", "isError"))  # type: ignore[misc]
def test_no_result_is_a_bug(result: dict[str, Any]) -> None:
    try:
        assert text_of(result)
    except ToolError as error:
        assert str(error)
