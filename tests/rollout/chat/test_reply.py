"""A model is told of its broken turn in the form of its protocol, and nothing of the error is taken for markup."""

import pytest

from aepo.rollout.chat import NativeProtocol, TagProtocol

BROKEN = "<tool_call>no end"
ERROR = "<tool_call> is not closed"
SAID = "format error: ‹tool_call> is not closed; write this turn again"


@pytest.fixture
def broken(tokenizers):
    def broken(style, text, end=None):
        tokenizer = tokenizers[style]
        return tokenizer.encode(text, add_special_tokens=False) + [
            tokenizer.convert_tokens_to_ids(token) for token in [end] if token
        ]

    return broken


@pytest.mark.parametrize(
    ("style", "end"),
    [("qwen25", "<|im_end|>"), ("llama3", "<|eot_id|>"), ("smollm2", "<|im_end|>"), ("gemma", "<|im_end|>")],
)
def test_chat_tells_it_as_the_template_renders_a_users_message(tokenizers, tools, broken, style, end):
    tokenizer, protocol = tokenizers[style], NativeProtocol(tokenizers[style], tools)
    turn = broken(style, BROKEN, end)
    assert protocol.parse(turn).error == ERROR
    tokens = protocol.prompt("Which?") + turn + protocol.format_error(ERROR, turn)
    conversation = [
        *protocol._template.opening("Which?"),
        {"role": "assistant", "content": BROKEN},
        {"role": "user", "content": SAID},
    ]
    whole = tokenizer.apply_chat_template(
        conversation, tools=list(protocol._template.schemas), add_generation_prompt=True, tokenize=False
    )
    assert tokenizer.decode(tokens) == whole
    assert tokens == tokenizer.encode(whole, add_special_tokens=False)


def test_an_end_is_written_if_the_policy_sampled_none(tokenizers, tools, broken):
    protocol = NativeProtocol(tokenizers["qwen25"], tools)
    ended = protocol.format_error(ERROR, broken("qwen25", BROKEN, "<|im_end|>"))
    assert protocol.format_error(ERROR, broken("qwen25", BROKEN)) == [
        tokenizers["qwen25"].convert_tokens_to_ids("<|im_end|>"),
        *ended,
    ]


def test_the_next_turn_opens_its_thinking_as_the_first_one_did(tokenizers, tools, broken):
    protocol = NativeProtocol(tokenizers["qwen3-prefilled"], tools)
    shown = tokenizers["qwen3-prefilled"].decode(
        protocol.format_error("<think> is not closed", broken("qwen3-prefilled", "hm", "<|im_end|>"))
    )
    assert shown.startswith("\n<|im_start|>user\nformat error: ‹think> is not closed; write")
    assert shown.endswith("<|im_start|>assistant\n<think>\n")


def test_a_template_that_has_no_users_message_here_tells_it_as_a_result(make_tokenizer, template_source, tools):
    refusing = "{% if messages[-1].role == 'user' and messages | length > 2 %}{{ raise_exception('no') }}{% endif %}"
    tokenizer = make_tokenizer(refusing + template_source["qwen25"])
    protocol = NativeProtocol(tokenizer, tools)
    turn = [*tokenizer.encode(BROKEN, add_special_tokens=False), tokenizer.convert_tokens_to_ids("<|im_end|>")]
    shown = tokenizer.decode(protocol.format_error(ERROR, turn))
    assert f"<tool_response>\n{SAID}\n</tool_response>" in shown


def test_tags_tell_it_between_result_tags_inside_the_message(tokenizers, tools, broken):
    protocol = TagProtocol(tokenizers["smollm2"], tools)
    turn = broken("smollm2", "<think>so <search>x</search>")
    error = protocol.parse(turn).error
    assert error == "<search> inside <think>"
    shown = tokenizers["smollm2"].decode(protocol.format_error(error, turn))
    assert shown == "<result>format error: ‹search> inside ‹think>; write this turn again</result>"


def test_tags_tell_it_as_a_user_if_the_message_has_ended(tokenizers, tools, broken):
    protocol = TagProtocol(tokenizers["smollm2"], tools)
    turn = broken("smollm2", "<think>so", "<|im_end|>")
    error = protocol.parse(turn).error
    shown = tokenizers["smollm2"].decode(protocol.format_error(error, turn))
    assert shown == (
        "\n<|im_start|>user\nformat error: ‹think> is not closed; write this turn again<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
