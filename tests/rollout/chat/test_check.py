import pytest

from aepo.rollout.chat import make_protocol


def test_a_template_that_drops_past_thinking_is_refused(tokenizers, tools):
    with pytest.raises(ValueError, match=r"changes turn 1 \('<think>.*once a tool result follows: use protocol: tags"):
        make_protocol("chat", tokenizers["forgetful"], tools)


def test_a_template_that_opens_thinking_and_drops_it_later_is_refused(make_tokenizer, template_source, tools):
    source = template_source["smollm2"].replace(r"assistant\n'", r"assistant\n<think>\n'")
    source = source.replace("m.content)", r"m.content.split('</think>')[-1].lstrip('\n'))")
    with pytest.raises(ValueError, match=r"changes turn 1 \('<think>thought0"):
        make_protocol("chat", make_tokenizer(source), [])


def test_tags_do_not_mind_a_template_that_drops_past_thinking(tokenizers, tools):
    assert make_protocol("tags", tokenizers["forgetful"], tools).name == "tags"


def test_thinking_that_is_kept_after_the_question_is_fine(tokenizers, tools):
    assert make_protocol("chat", tokenizers["qwen3"], tools).name == "chat"


def test_thinking_that_is_dropped_when_a_user_shows_the_result_is_refused(make_tokenizer, template_source, tools):
    # As Qwen3 would be if it knew no role tool and took every message of a user for a question.
    source = template_source["qwen3"].replace(" and not m.content.startswith('<tool_response>')", "")
    tokenizer = make_tokenizer(source.replace("m.role == 'tool'", "m.role == 'no such role'"))
    with pytest.raises(ValueError, match="changes turn 1"):
        make_protocol("chat", tokenizer, tools)


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("'You are SmolLM.'", "'You are SmolLM, at message ' ~ messages | length", "the prompt"),
        ("m.content)", "m.content if loop.revindex < 3 or m.role != 'assistant' else '...')", "turn 1"),
        (
            "m.content)",
            "m.content if loop.revindex < 2 or not m.content.startswith('<tool_response>') else '(old)')",
            "the result of turn 1",
        ),
    ],
)
def test_names_what_is_changed(make_tokenizer, template_source, tools, old, new, changed):
    tokenizer = make_tokenizer(template_source["smollm2"].replace(old, new))
    with pytest.raises(ValueError, match=rf"the chat template changes {changed} .* use protocol: tags"):
        make_protocol("chat", tokenizer, [])


def test_a_template_that_rewrites_every_turn_is_refused(make_tokenizer, template_source, tools):
    source = template_source["smollm2"].replace("m.content)", "m.content if loop.last else m.content.upper())")
    with pytest.raises(ValueError, match="does not keep an assistant's turn as it was written"):
        make_protocol("chat", make_tokenizer(source), tools)


def test_a_prompt_that_writes_what_history_lacks_is_refused(make_tokenizer, template_source, tools):
    source = template_source["smollm2"].replace(r"assistant\n'", r"assistant\n<think>\n\n</think>\n\n'")
    with pytest.raises(ValueError, match="changes the prompt"):
        make_protocol("chat", make_tokenizer(source), tools)


def test_a_template_without_end_of_turn_token_is_refused(make_tokenizer, tools):
    source = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}{{ 'assistant: ' }}"
    with pytest.raises(ValueError, match="not with a special token"):
        make_protocol("chat", make_tokenizer(source), tools)


def test_a_template_that_hides_results_is_refused(make_tokenizer, template_source, tools):
    source = template_source["smollm2"].replace("m.content)", "m.content if m.role != 'user' else 'question')")
    with pytest.raises(ValueError, match="does not show the text of tool results"):
        make_protocol("chat", make_tokenizer(source), tools)


def test_a_template_that_allows_one_question_only_is_refused(make_tokenizer, template_source, tools):
    guard = "{%- if messages | length > 4 %}{{ raise_exception('too long') }}{% endif -%}"
    with pytest.raises(ValueError, match="refuses a conversation with 2 tool results"):
        make_protocol("chat", make_tokenizer(guard + template_source["smollm2"]), tools)


def test_calls_in_another_form_than_json_are_refused(make_tokenizer, template_source, tools):
    written = r"""'\n<tool_call>\n{"name": "' + c.function.name"""
    assert written in template_source["qwen25"]
    source = template_source["qwen25"].replace(written, r"""'\n<tool_call>\n<function=' + c.function.name""")
    with pytest.raises(ValueError, match=r"writes tool calls as .*<function=aepo_sentinel_tool.*use protocol: tags"):
        make_protocol("chat", make_tokenizer(source), tools)


def test_a_tokenizer_without_template_is_refused(tokenizers, tools):
    with pytest.raises(ValueError, match="no chat template"):
        make_protocol("chat", tokenizers["base"], tools)


def test_an_unknown_protocol_is_refused(tokenizers):
    with pytest.raises(ValueError, match="unknown protocol 'xml': choose tags or chat"):
        make_protocol("xml", tokenizers["qwen25"])
