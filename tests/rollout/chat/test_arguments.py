"""Arguments of a chat template, another template from a file, and templates that raise."""

from __future__ import annotations

import pytest

from aepo.rollout.chat import make_protocol
from aepo.rollout.chat.arguments import arguments_of
from aepo.rollout.chat.template import Template, message
from tests.rollout.chat.published import source, tokenizer


@pytest.mark.parametrize(
    ("template", "read"),
    [
        (source("qwen3"), ["enable_thinking"]),
        (source("qwen3_8"), ["add_vision_id", "enable_thinking", "preserve_thinking", "reasoning_effort"]),
        (source("gptoss"), ["builtin_tools", "model_identity", "reasoning_effort"]),
        (source("lfm2_2_5"), ["preserve_thinking"]),
        (source("qwen2_5"), []),
        (source("qwen3_training"), ["enable_thinking"]),
        (
            "{% set effort = effort | default('low') %}{{ effort }}{{ bos_token }}{{ messages }}{{ range(3) }}",
            ["effort"],
        ),
        ("{% set own = 1 %}{% for m in messages %}{{ own }}{{ m }}{% endfor %}{{ strftime_now('%Y') }}", []),
    ],
)
def test_the_names_that_a_template_reads(template, read) -> None:
    assert arguments_of(template) == read


@pytest.mark.parametrize("name", ["tags", "chat"])
def test_an_argument_is_given_to_every_rendering(name, tools) -> None:
    words = tokenizer(source("qwen3"))
    plain, quick = (make_protocol(name, words, tools, template=given) for given in ({}, {"enable_thinking": False}))
    assert words.decode(quick.prompt("Who?")) == words.decode(plain.prompt("Who?")) + "<think>\n\n</think>\n\n"


@pytest.mark.parametrize("name", ["tags", "chat"])
@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            {"enable_think": False},
            "does not read 'enable_think': did you mean 'enable_thinking'. it reads enable_thinking",
        ),
        ({"zzz": 1}, "rollout.template: the chat template does not read 'zzz': it reads enable_thinking"),
        ({"messages": []}, "does not read 'messages'"),
        ({"file": "no/such.jinja"}, "rollout.template.file: cannot read no/such.jinja: No such file"),
    ],
)
def test_what_a_template_does_not_read_is_refused_with_what_it_reads(name, given, line, tools) -> None:
    with pytest.raises(ValueError, match=line):
        make_protocol(name, tokenizer(source("qwen3")), tools, template=given)


def test_a_template_without_arguments_says_so(tools) -> None:
    with pytest.raises(ValueError, match="it reads none"):
        make_protocol("chat", tokenizer(source("qwen2_5")), tools, template={"enable_thinking": False})


@pytest.mark.parametrize("name", ["tags", "chat"])
def test_a_file_is_used_instead_of_the_models_own_template(
    name, tools, tmp_path, make_tokenizer, template_source
) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text("{{ greeting }}" + template_source["smollm2"], encoding="utf-8")
    words = make_tokenizer(None)
    protocol = make_protocol(name, words, tools, template={"file": str(file), "greeting": "Good day."})
    assert words.decode(protocol.prompt("Who?")).startswith("Good day.<|im_start|>system")


@pytest.mark.parametrize("name", ["tags", "chat"])
@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{{ functions.x }}", "'functions' is undefined"),
        ("{% for tool in none %}{% endfor %}", "'NoneType' object is not iterable"),
        ("{{ (messages | map(attribute='role')) | tojson }}", "Object of type generator is not JSON serializable"),
        ("{{ raise_exception('Only for experts') }}", "Only for experts"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{% if %}", "Expected an expression"),
        ("{{ ''.__class__.x }}", "unsafe"),
    ],
)
def test_whatever_a_template_raises_it_is_one_line_with_the_way_out(name, template, complaint, make_tokenizer, tools):
    with pytest.raises(ValueError, match=complaint) as refusal:
        make_protocol(name, make_tokenizer(template), tools)
    line = str(refusal.value)
    assert "\n" not in line and "rollout.template" in line


def test_arguments_of_a_broken_template_are_refused_in_words(make_tokenizer, tools) -> None:
    with pytest.raises(ValueError, match="is no valid template: Expected an expression"):
        make_protocol("chat", make_tokenizer("{% if %}"), tools, template={"enable_thinking": True})


def test_an_exception_in_the_middle_of_a_conversation_is_one_line_too(make_tokenizer) -> None:
    template = Template(make_tokenizer("{{ messages[1].content.x.y }}"))
    with pytest.raises(ValueError, match="cannot write this conversation"):
        template.render([message("user", "a"), message("user", "b")])
    assert template.try_render([message("user", "a")]) is None
