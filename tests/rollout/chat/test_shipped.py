"""The templates of this package write prompts, first turns and results as the families' own ones do."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from aepo.rollout.chat import NativeProtocol
from aepo.rollout.chat.shipped import agree, instead_of, shipped
from aepo.rollout.chat.template import Template, calling, message, thinking, tool_schema
from tests.rollout.chat.published import source, tokenizer

# QwQ's own template, which drops thinking from all turns but the last one.
QWQ = re.sub(r"{%- if message.reasoning_content %}.*?{%- endif %}", "", shipped()["qwq"], flags=re.DOTALL).replace(
    "{{- message.content or '' }}",
    "{{- message.content if loop.last else message.content.split('</think>')[-1].lstrip('\\n') }}",
)
CASES = {
    "qwen3": (source("qwen3"), {"enable_thinking": False}),
    "qwq": (QWQ, {}),
    "deepseek_r1": (source("deepseek_r1_distill"), {}),
}


def of(name: str, tools) -> tuple[Template, Template]:
    """The family's own template and the package's."""
    own, arguments = CASES[name]
    template = Template(tokenizer(own), tuple(tool_schema(tool) for tool in tools), arguments=arguments)
    return template, replace(template, other=shipped()[name])


def test_each_family_has_a_case() -> None:
    assert shipped().keys() == CASES.keys()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("system", ["", "Be brief."])
def test_prompt_first_turn_and_result_are_the_familys_own(name, system, tools) -> None:
    own, kept = (replace(template, system=system) for template in of(name, tools))
    opening = own.opening("Who wrote Emma?")
    assert kept.render(opening) == own.render(opening)
    turn = message("assistant", "One moment.")
    assert kept.render([*opening, turn], False) == own.render([*opening, turn], False)
    result = {**message("tool", "Jane Austen"), "name": "search"}
    texts = [template.render([*opening, turn, result]).rpartition("One moment.")[2] for template in (own, kept)]
    assert texts[0] == texts[1] and "Jane Austen" in texts[0]
    results = [result, {**message("tool", "and others"), "name": "search"}]
    texts = [template.render([*opening, turn, *results]).rpartition("One moment.")[2] for template in (own, kept)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", CASES)
def test_a_turn_stays_as_it_was_said_whatever_follows(name, tools) -> None:
    _, kept = of(name, tools)
    said = "<think>\n\n so </think> \n<tool_call>x</tool_call>\n "
    result = {**message("tool", "Jane Austen"), "name": "search"}
    messages, before = [message("user", "Who?")], ""
    for more in ([message("assistant", said)], [result], [message("assistant", said)], [message("user", "And?")]):
        messages += more
        text = kept.render(messages, generation_prompt=False)
        assert text.startswith(before) and text.count(said) == sum(m["role"] == "assistant" for m in messages)
        before = text


@pytest.mark.parametrize("name", CASES)
def test_thoughts_and_calls_may_have_fields_of_their_own(name, tools) -> None:
    _, kept = of(name, tools)
    call = calling(("search", {"query": "Emma"}), ("search", '{"query": "b"}'), thought="I look.")
    text = kept.render([message("user", "Who?"), call], generation_prompt=False)
    assert "<think>\nI look.\n</think>\n\n<tool_call>\n" in text
    assert '{"name": "search", "arguments": {"query": "Emma"}}\n</tool_call>\n<tool_call>\n{"name": "search"' in text
    assert thinking("I look.").keys() == {"reasoning_content", "thinking"}


def test_qwqs_thinking_is_kept(tools, caplog) -> None:
    protocol = NativeProtocol(tokenizer(QWQ), tools)
    assert protocol.conventions.shipped == "qwq" and "is used instead" in caplog.text


@pytest.mark.parametrize(
    ("old", "new"), [("# Tools", "# Your tools"), ("tool_response", "tool_result"), ("assistant", "bot")]
)
def test_a_template_that_writes_anything_else_is_not_replaced(old, new, tools) -> None:
    own = source("qwen3").replace(old, new)
    template = Template(
        tokenizer(own), tuple(tool_schema(tool) for tool in tools), arguments={"enable_thinking": False}
    )
    assert list(instead_of(template)) == []
    assert not agree(template, replace(template, other=shipped()["qwen3"]))
    with pytest.raises(ValueError, match=r"changes|does not"):
        NativeProtocol(tokenizer(own), tools, template={"enable_thinking": False})
