"""Small byte-level tokenizers and chat templates in the styles of known families."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

CORPUS = [
    "The capital of France is Paris. <search>capital of France</search> <result>Paris is the capital</result>",
    '<think>I should look it up</think> {"name": "search", "arguments": {"query": "capital of France"}}',
    "<answer>Paris</answer> user assistant system tool tool_call tool_response thought one moment result",
] * 4

CHATML = r"""
{%- macro said(role, text) %}{{ '<|im_start|>' + role + '\n' + text + '<|im_end|>\n' }}{% endmacro -%}
"""

# Tools go into the system message, results into a user message.
QWEN25 = (
    CHATML
    + r"""
{%- set given = messages[0].content if messages[0].role == 'system' else 'You are helpful.' -%}
{%- set rest = messages[1:] if messages[0].role == 'system' else messages -%}
{%- if tools -%}
{%- set listed -%}{% for t in tools %}{{ '\n' + (t | tojson) }}{% endfor %}{%- endset -%}
{{ said('system', given + '\n\n# Tools\n<tools>' + listed + '\n</tools>\nCall with <tool_call> JSON </tool_call>.') }}
{%- else -%}{{ said('system', given) }}{%- endif -%}
{%- for m in rest -%}
{%- if m.role == 'tool' -%}
{%- if loop.first or rest[loop.index0 - 1].role != 'tool' %}{{ '<|im_start|>user' }}{% endif -%}
{{ '\n<tool_response>\n' + m.content + '\n</tool_response>' }}
{%- if loop.last or rest[loop.index0 + 1].role != 'tool' %}{{ '<|im_end|>\n' }}{% endif -%}
{%- elif m.role == 'assistant' and m.tool_calls -%}
{{ '<|im_start|>assistant' + ('\n' + m.content if m.content else '') }}
{%- for c in m.tool_calls -%}
{{ '\n<tool_call>\n{"name": "' + c.function.name + '", "arguments": ' + (c.function.arguments | tojson) }}
{{- '}\n</tool_call>' }}
{%- endfor -%}{{ '<|im_end|>\n' }}
{%- else -%}{{ said(m.role, m.content) }}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif -%}
"""
)

# Keeps thinking after the last question only, and gives the last assistant message an empty thought if it has none.
QWEN3 = (
    CHATML
    + r"""
{%- if tools %}{{ said('system', '# Tools ' + (tools | tojson)) }}{% endif -%}
{%- set ns = namespace(last=-1) -%}
{%- for m in messages %}{% if m.role == 'user' and not m.content.startswith('<tool_response>') -%}
{% set ns.last = loop.index0 %}{% endif %}{% endfor -%}
{%- for m in messages -%}
{%- if m.role == 'assistant' -%}
{%- set thought = m.content.split('</think>')[0].split('<think>')[-1].strip('\n') if '</think>' in m.content else '' -%}
{%- set content = m.content.split('</think>')[-1].lstrip('\n') -%}
{{ '<|im_start|>assistant\n' }}
{%- if loop.index0 > ns.last and (loop.last or thought) %}{{ '<think>\n' + thought + '\n</think>\n\n' }}{% endif -%}
{{ content }}
{%- for c in m.tool_calls or [] -%}
{{ '\n<tool_call>\n{"name": "' + c.function.name + '", "arguments": ' + (c.function.arguments | tojson) }}
{{- '}\n</tool_call>' }}{%- endfor -%}
{{ '<|im_end|>\n' }}
{%- elif m.role == 'tool' -%}
{{ said('user', '<tool_response>\n' + m.content + '\n</tool_response>') }}
{%- else -%}{{ said(m.role, m.content) }}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif -%}
"""
)
GENERATION = r"{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
QWEN3_PREFILLED = QWEN3.replace(GENERATION, GENERATION.replace(r"\n", r"\n<think>\n"))

# Tools go into the first question, results are JSON strings of the role ipython, contents are trimmed.
LLAMA3 = r"""
{%- macro head(role) %}{{ '<|start_header_id|>' + role + '<|end_header_id|>\n\n' }}{% endmacro -%}
{{ bos_token }}
{%- set ns = namespace(rest=messages, given='') -%}
{%- if messages[0].role == 'system' %}{% set ns.given = messages[0].content | trim -%}
{% set ns.rest = messages[1:] %}{% endif -%}
{{ head('system') + 'Today Date: 26 Jul 2024\n\n' + ns.given + '<|eot_id|>' }}
{%- for m in ns.rest -%}
{%- if m.role == 'tool' -%}
{{ head('ipython') }}
{%- if m.content is mapping or m.content is iterable %}{{ m.content | tojson }}{% else %}{{ m.content }}{% endif -%}
{{ '<|eot_id|>' }}
{%- elif m.tool_calls -%}
{%- if m.tool_calls | length != 1 %}{{ raise_exception('one call at once') }}{% endif -%}
{%- set f = m.tool_calls[0].function -%}
{{ head('assistant') + '{"name": "' + f.name + '", "parameters": ' + (f.arguments | tojson) + '}<|eot_id|>' }}
{%- else -%}
{{ head(m.role) }}
{%- if loop.first and tools %}{{ 'Answer with a call:\n' + (tools | tojson(indent=4)) + '\n\n' }}{% endif -%}
{{ (m.content | trim) + '<|eot_id|>' }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{ head('assistant') }}{% endif -%}
"""

# Any role is a word in a header; tools are not looked at.
SMOLLM2 = (
    CHATML
    + r"""
{%- for m in messages -%}
{%- if loop.first and m.role != 'system' %}{{ said('system', 'You are SmolLM.') }}{% endif -%}
{{ said(m.role, m.content) }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif -%}
"""
)

# No system role, roles must alternate.
GEMMA = r"""
{%- if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif -%}
{%- for m in messages -%}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif -%}
{{ '<|im_start|>' + ('model' if m.role == 'assistant' else m.role) + '\n' + (m.content | trim) + '<|im_end|>\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>model\n' }}{% endif -%}
"""

# Drops the thinking of every turn but the last one.
FORGETFUL = SMOLLM2.replace(
    "{{ said(m.role, m.content) }}",
    r"""
{%- set past = m.role == 'assistant' and not loop.last -%}
{{ said(m.role, m.content.split('</think>')[-1].lstrip('\n') if past else m.content) }}""",
)

CONTROL = [
    "<|im_start|>",
    "<|im_end|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<bos>",
]
TAGS = ["search", "python", "result", "answer", "think"]


def build_tokenizer(template: str | None, tag_tokens: bool = False, eos: str = "<|im_end|>") -> PreTrainedTokenizerFast:
    """A byte-level BPE of a few hundred tokens; `tag_tokens` makes each tag one token."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, special_tokens=[*CONTROL, "<|endoftext|>"], show_progress=False
    )
    backend.train_from_iterator(CORPUS, trainer)
    if tag_tokens:
        backend.add_tokens([f"<{slash}{name}>" for name in TAGS for slash in ("", "/")])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=eos, bos_token="<bos>")
    tokenizer.chat_template = template
    return tokenizer


@dataclass(frozen=True)
class FakeTool:
    """What a protocol sees of a tool."""

    name: str
    description: str = "Does something."
    parameters: dict[str, Any] = field(default_factory=dict)


def schema(required: list[str], **types: str) -> dict[str, Any]:
    """A JSON schema of an object."""
    properties = {name: {"type": kind, "description": f"the {name}"} for name, kind in types.items()}
    return {"type": "object", "properties": properties, "required": required}


SEARCH = FakeTool("search", "Search the library.", schema(["query"], query="string"))
PYTHON = FakeTool("python", "Run Python.", schema(["code"], code="string", seconds="number"))
CONVERT = FakeTool("convert", "Convert units.", schema(["value", "unit"], value="number", unit="string"))


TOOLS = [SEARCH, PYTHON, CONVERT]


@pytest.fixture(scope="session")
def tools() -> list[FakeTool]:
    """Tools with one parameter, one required one, two."""
    return TOOLS


@pytest.fixture(scope="session")
def template_source() -> dict[str, str]:
    """Jinja by style."""
    return {"smollm2": SMOLLM2, "qwen25": QWEN25, "qwen3": QWEN3}


@pytest.fixture(scope="session")
def make_tokenizer() -> Callable[..., PreTrainedTokenizerFast]:
    """`build_tokenizer`."""
    return build_tokenizer


@pytest.fixture(scope="session")
def make_tool() -> type[FakeTool]:
    """`FakeTool`."""
    return FakeTool


@pytest.fixture(scope="session")
def tokenizers() -> dict[str, PreTrainedTokenizerFast]:
    """By style."""
    return {
        "qwen25": build_tokenizer(QWEN25),
        "qwen3": build_tokenizer(QWEN3, tag_tokens=True),
        "qwen3-prefilled": build_tokenizer(QWEN3_PREFILLED, tag_tokens=True),
        "llama3": build_tokenizer(LLAMA3, eos="<|eot_id|>"),
        "smollm2": build_tokenizer(SMOLLM2),
        "gemma": build_tokenizer(GEMMA),
        "forgetful": build_tokenizer(FORGETFUL),
        "tag-tokens": build_tokenizer(SMOLLM2, tag_tokens=True),
        "base": build_tokenizer(None),
    }
