"""What a call's arguments hold comes back as it was written, whatever it looks like; broken calls are told."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aepo.rollout.chat.formats import harmony, mistral
from aepo.rollout.chat.formats.glm import GLM
from aepo.rollout.chat.formats.harmony import HARMONY
from aepo.rollout.chat.formats.json_tags import JSON
from aepo.rollout.chat.formats.mistral import MISTRAL
from aepo.rollout.chat.formats.pythonic import PYTHONIC
from aepo.rollout.chat.formats.xml import XML
from aepo.types import ToolCall
from tests.rollout.chat.conftest import CONVERT, SEARCH, FakeTool, schema

MANY = FakeTool(
    "many",
    "Takes all kinds.",
    schema([], text="string", number="number", flag="boolean", listed="array", thing="object"),
)
TOOLS = {tool.name: tool for tool in (SEARCH, CONVERT, MANY)}

MARKUP = [
    "<tool_call>", "</tool_call>", "<function=search>", "</function>", "<parameter=query>", "</think>", "<think>",
    "[TOOL_CALLS]", "<arg_key>x</arg_key>", "[ARGS]", "[/THINK]", "<|end|>", "<|start|>", "<|message|>",
    "<|channel|>final",
    "<|tool_call_end|>",
    '"', "'", "\\", "\n", "[", "]", "{", "}", "(", ")",
]  # fmt: skip
TEXT = st.lists(
    st.sampled_from(MARKUP) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
    max_size=6,
).map("".join)
LITERAL = st.integers(-(10**6), 10**6) | st.booleans()
VALUE = st.recursive(TEXT | LITERAL, lambda inner: st.lists(inner, max_size=3), max_leaves=4)
ARGUMENTS = st.fixed_dictionaries(
    {}, optional={"text": TEXT, "number": st.integers(), "flag": st.booleans(), "listed": st.lists(VALUE, max_size=3)}
)


def as_xml(name: str, arguments: dict) -> str:
    shown = {key: value if isinstance(value, str) else json.dumps(value) for key, value in arguments.items()}
    inside = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in shown.items())
    return f"<tool_call>\n<function={name}>\n{inside}</function>\n</tool_call>"


def as_glm(name: str, arguments: dict) -> str:
    shown = {key: value if isinstance(value, str) else json.dumps(value) for key, value in arguments.items()}
    inside = "".join(f"<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>\n" for key, value in shown.items())
    return f"<tool_call>{name}\n{inside}</tool_call>"


def as_listed(name: str, arguments: dict) -> str:
    return "[TOOL_CALLS]" + json.dumps([{"name": name, "arguments": arguments, "id": "a1"}], ensure_ascii=False)


def as_named(name: str, arguments: dict) -> str:
    return f"[TOOL_CALLS]{name}[ARGS]{json.dumps(arguments, ensure_ascii=False)}"


def as_message(name: str, arguments: dict) -> str:
    body = json.dumps(arguments, ensure_ascii=False)
    return f"<|start|>assistant<|channel|>commentary to=functions.{name} <|constrain|>json<|message|>{body}"


def as_python(name: str, arguments: dict) -> str:
    return f"<|tool_call_start|>[{name}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})]<|tool_call_end|>"


def as_json(name: str, arguments: dict) -> str:
    return "<tool_call>\n" + json.dumps({"name": name, "arguments": arguments}) + "\n</tool_call>"


WAYS = [
    (XML, as_xml),
    (GLM, as_glm),
    (MISTRAL, as_listed),
    (MISTRAL, as_named),
    (HARMONY, as_message),
    (PYTHONIC, as_python),
    (JSON, as_json),
]


@pytest.mark.parametrize(("form", "write"), WAYS)
@settings(max_examples=60, deadline=None)
@given(arguments=ARGUMENTS)
def test_whatever_arguments_hold_they_come_back(form, write, arguments) -> None:
    if form is XML:  # the one thing that its text cannot hold is what ends it
        arguments = {k: v for k, v in arguments.items() if "</parameter>" not in str(v) and "</function>" not in str(v)}
    call = write("many", arguments)
    before = "<|channel|>analysis<|message|>So.<|end|>" if form is HARMONY else "So. "
    assert form.find(before + call, TOOLS) == (ToolCall("many", arguments),)
    assert form.position(before + call) == len(before)
    assert len(form.blanked(before + call)) == len(before + call)


@pytest.mark.parametrize(("form", "write"), [way for way in WAYS if way[0] is not HARMONY])
def test_several_calls_are_found_in_their_order(form, write) -> None:
    text = "\n".join(write("search", {"query": f"<tool_call>[TOOL_CALLS]{n}"}) for n in range(3))
    assert [call.arguments["query"][-1] for call in form.find(text, TOOLS)] == ["0", "1", "2"]


@pytest.mark.parametrize(("form", "write"), WAYS)
def test_an_unknown_tool_is_told_of_the_known_ones(form, write) -> None:
    (call,) = form.find(write("fetch", {}), TOOLS)
    assert call.name == "fetch" and "there is no tool 'fetch'; the tools are: search, convert, many" in (
        call.error or ""
    )


@pytest.mark.parametrize("form", [XML, GLM, MISTRAL, HARMONY, PYTHONIC, JSON])
@settings(max_examples=60, deadline=None)
@given(text=TEXT)
def test_no_text_raises(form, text) -> None:
    assert len(form.blanked(text)) == len(text)
    form.find(text, TOOLS)
    assert 0 <= form.position(text) <= len(text)
    mistral.call_ids(text)
    harmony.broken(text)
    harmony.answer(text)


@pytest.mark.parametrize(
    ("form", "text", "problem"),
    [
        (XML, "<tool_call>{}</tool_call>", "not of the form <function=name>...</function>"),
        (XML, "<tool_call><function=search>Emma</function></tool_call>", "not all of the form <parameter=name>"),
        (XML, as_xml("convert", {"value": "three"}), "the parameter value of convert is not valid JSON"),
        (XML, "<tool_call><function=search><parameter=query>a</function></tool_call>", "not all of the form"),
        (GLM, "<tool_call>search Emma</tool_call>", "not all of the form <arg_key>, <arg_value>"),
        (GLM, "<tool_call> </tool_call>", "the tool call is not of the form name, <arg_key>, <arg_value>"),
        (GLM, as_glm("convert", {"value": "three"}), "the argument value of convert is not valid JSON"),
        (MISTRAL, "[TOOL_CALLS]search", "the tool call is not valid JSON"),
        (MISTRAL, "[TOOL_CALLS]search[ARGS]Emma", "the arguments of search are not valid JSON"),
        (MISTRAL, '[TOOL_CALLS]search[ARGS]["Emma"]', "the arguments of search are not a JSON object"),
        (HARMONY, "<|channel|>commentary to=functions.search<|message|>Emma", "arguments of search are not valid JSON"),
        (HARMONY, "<|channel|>commentary to=browser.open<|message|>{}", "there is no tool 'browser.open'"),
        (PYTHONIC, "[search('Emma')]", "give each argument of search by its name"),
        (PYTHONIC, "[search(query=open('x'))]", "is no literal value"),
        (PYTHONIC, "[search(query=b'x')]", "an argument of search is no JSON value"),
        (PYTHONIC, "[search(query='x')", "not a list of Python calls"),
    ],
)
def test_a_call_that_cannot_be_read_says_why(form, text, problem) -> None:
    (call,) = form.find(text, TOOLS)
    assert problem in (call.error or "")


@pytest.mark.parametrize(("form", "write"), [(XML, as_xml), (GLM, as_glm)])
def test_values_without_quotes_have_the_type_of_the_schema(form, write) -> None:
    values = {"text": "12", "number": "3", "flag": "True", "listed": '["a"]', "thing": '{"a": null}'}
    (call,) = form.find(write("many", values), TOOLS)
    assert call.arguments == {"text": "12", "number": 3, "flag": True, "listed": ["a"], "thing": {"a": None}}


def test_an_answer_that_only_looks_like_a_list_is_no_call() -> None:
    assert PYTHONIC.find("[1] Jane Austen (1815)", TOOLS) == ()
