"""What a model declares ends turns under both protocols, and what a string leaves of its turn."""

import pytest

from aepo.rollout.chat import ParsedTurn, make_protocol
from aepo.rollout.generator import Stop
from aepo.types import ToolCall, ToolResult

CALL = '<tool_call>\n{"name": "search", "arguments": {"query": "x"}}\n</tool_call>'
FOUND = ParsedTurn(calls=(ToolCall("search", {"query": "x"}),))


@pytest.mark.parametrize(
    ("name", "declared", "turn", "parsed"),
    [
        ("chat", ["\nQ:"], "Paris\nQ:", ParsedTurn(answer="Paris")),
        ("chat", ["\nQ:"], "Paris\nQ: Who", ParsedTurn(answer="Paris")),
        ("chat", ["Q:", "\nQ"], "Paris\nQ:", ParsedTurn(answer="Paris")),
        ("chat", ["Q:"], "Q:", ParsedTurn()),
        ("chat", ["Observation:"], CALL + "\nObservation:", FOUND),
        ("chat", ["</tool_call>"], CALL, FOUND),
        ("chat", ["</tool_call>\n"], CALL + "\n", FOUND),
        ("chat", ["<tool_response>"], CALL + "\n<tool_response>", FOUND),
        ("chat", ["\n<tool_response>"], "Paris\n<tool_response>", ParsedTurn(answer="Paris")),
        ("chat", ["</answer>"], "So <answer>Paris</answer>", ParsedTurn(answer="Paris")),
        ("chat", ["</think>"], "<think>so</think>", ParsedTurn()),
        ("tags", ["\nQ:"], "<answer>Paris</answer>", ParsedTurn(answer="Paris")),
        ("tags", ["\nQ:"], "Paris\nQ:", ParsedTurn()),
        ("tags", ["</answer>\n"], "<answer>Paris</answer>\n", ParsedTurn(answer="Paris")),
        ("tags", ["</search>"], "<search>x</search>", FOUND),
        (
            "tags",
            ["<result>"],
            "so <result>",
            ParsedTurn(error="<result> was written by the policy: only tools write results"),
        ),
    ],
)
def test_a_string_ends_a_turn_and_is_no_part_of_it_but_for_a_tag_that_closes_something(
    tokenizers, tools, name, declared, turn, parsed
):
    tokenizer = tokenizers["qwen25"]
    protocol = make_protocol(name, tokenizer, tools, ends=Stop(strings=tuple(declared)))
    plain = make_protocol(name, tokenizer, tools)
    assert set(protocol.stop.strings) == {*plain.stop.strings, *declared}
    assert protocol.stop.tokens == plain.stop.tokens
    tokens = tokenizer.encode(turn, add_special_tokens=False)
    assert protocol.parse(tokens) == parsed
    if parsed.calls:
        start = turn.index("<tool_call>" if name == "chat" else "<search>")
        assert tokenizer.decode(tokens[: protocol.call_start(tokens)]) == turn[:start]


def test_the_templates_end_is_inserted_where_the_policy_sampled_none(tokenizers, tools):
    tokenizer = tokenizers["qwen25"]
    protocol = make_protocol("chat", tokenizer, tools, ends=Stop(strings=("Observation:",)))
    result, end = ToolResult("Paris"), tokenizer.convert_tokens_to_ids("<|im_end|>")
    spelled = tokenizer.encode(CALL + "\nObservation:", add_special_tokens=False)
    behind = protocol.observation([result], FOUND.calls)
    assert end not in behind[:1]
    assert protocol.observation([result], FOUND.calls, [*spelled, end]) == behind
    assert protocol.observation([result], FOUND.calls, spelled) == [end, *behind]


@pytest.mark.parametrize("name", ["tags", "chat"])
def test_a_string_that_is_a_control_token_ends_turns_as_that_token(tokenizers, tools, name):
    tokenizer = tokenizers["qwen25"]
    protocol = make_protocol(name, tokenizer, tools, ends=Stop(strings=("<|eot_id|>",)))
    plain = make_protocol(name, tokenizer, tools).stop
    assert protocol.stop == Stop(plain.tokens | {tokenizer.convert_tokens_to_ids("<|eot_id|>")}, plain.strings)


@pytest.mark.parametrize(("name", "string", "tag"), [("tags", "</", "</think>"), ("chat", "_call>", "</tool_call>")])
def test_a_string_that_would_cut_the_protocols_own_tags_is_refused(tokenizers, tools, name, string, tag):
    with pytest.raises(ValueError, match=f"ends turns at '{string}', which {tag} holds: take it out of"):
        make_protocol(name, tokenizers["qwen25"], tools, ends=Stop(strings=(string,)))


def test_a_template_that_closes_a_turn_only_once_something_follows_is_asked_with_something(make_tokenizer, tools):
    source = (
        "{% for m in messages %}{{ m.role + ': ' + m.content }}{% if not loop.last %}{{ '<|eot_id|>' }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    tokenizer = make_tokenizer(source)
    assert tokenizer.convert_tokens_to_ids("<|eot_id|>") in make_protocol("tags", tokenizer, tools).stop.tokens
