"""What works with published chat templates: `python benchmarks/chat_templates.py FOLDER...`, with *.jinja files.

It prints the tables of docs/templates.md. Each template gets a byte-level tokenizer with its control tokens, and then
the protocols tags and chat as a run would make them, with two tools. A template that thinks is tried with the arguments
that it reads for that. No model is loaded, and nothing is downloaded.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from aepo import tool
from aepo.rollout.chat import ChatProtocol, NativeProtocol, make_protocol
from aepo.rollout.chat.arguments import arguments_of

TOKENS = re.compile(
    r"<\|[A-Za-z_\"|:]+\|>|<｜[^｜]+｜>|<\|(?:turn|channel|tool_call|tool_response|tool|think)>|"
    r"<(?:turn|tool_call|tool_response|tool|channel)\|>|\[/?[A-Z_]{3,}\]|\[e~\[|\]~b\]|<seed:[a-z_]+>|<SPECIAL_\d+>|"
    r"<(?:bos|eos|s|/s|sep|start_of_turn|end_of_turn|end_of_sentence|beginning_of_sentence)>|</?(?:assistant|user)>"
)
COMMON = "the chat template "
ENDS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<end_of_turn>",
    "<turn|>",
    "</s>",
    "<|return|>",
    "<｜end▁of▁sentence｜>",
    "<|end|>",
)
TRIED: tuple[dict[str, Any], ...] = (
    {},
    {"enable_thinking": True},
    {"enable_thinking": False},
    {"preserve_thinking": True},
    {"keep_past_thinking": True},
    {"clear_thinking": False},
    {"truncate_history_thinking": False},
)


@tool
def search(query: str) -> str:
    """Search the web.

    Args:
        query: What to look for.
    """
    return query


@tool
def python(code: str, seconds: float = 10.0) -> str:
    """Run Python.

    Args:
        code: The program.
        seconds: The time limit.
    """
    return f"{code}{seconds}"


def tokenizer_for(source: str) -> PreTrainedTokenizerFast:
    """A tokenizer of bytes with the control tokens that a template writes."""
    control = {*TOKENS.findall(source), "<|endoftext|>"}
    if "[INST]" in source:
        control |= {"<s>", "</s>", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"}
    if "<|tool_list_start|>" in source:
        control |= {"<|tool_call_start|>", "<|tool_call_end|>"}
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = sorted(control)
    trainer = trainers.BpeTrainer(
        vocab_size=256 + len(special), initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    backend.train_from_iterator([], trainer)
    end = next((token for token in ENDS if token in control), "<|endoftext|>")
    begin = "<s>" if "<s>" in control else "<|endoftext|>"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=end, bos_token=begin)
    tokenizer.chat_template = source
    return tokenizer


def tried(source: str, protocol: str) -> Iterator[tuple[dict[str, Any], ChatProtocol | str]]:
    """The protocol, or why it is refused, for each arguments that the template reads."""
    words = tokenizer_for(source)
    for arguments in TRIED:
        if not arguments.keys() <= set(arguments_of(source)):
            continue
        try:
            made = make_protocol(protocol, words, [search, python], template=arguments)  # type: ignore[arg-type]
            made.prompt("Who wrote Emma?")
            yield arguments, made
        except ValueError as refusal:
            yield arguments, " ".join(str(refusal).split())


def row(path: Path) -> tuple[bool, list[str]]:
    """Whether the template works under chat, and its row."""
    source = path.read_text(encoding="utf-8")
    tags = next(tried(source, "tags"))[1]
    tagged = f"no: {short(tags)}" if isinstance(tags, str) else "yes"
    found = list(tried(source, "chat"))
    works = [(arguments, made) for arguments, made in found if isinstance(made, NativeProtocol)]
    if not works:
        return False, [path.stem, tagged, short(str(found[0][1]))]
    first = works[0][1]
    kept = sorted({made.conventions.shipped for _, made in works if made.conventions.shipped})
    said = "by default" if not works[0][0] else ""
    named = [f"`{name}: {str(value).lower()}`" for arguments, _ in works for name, value in arguments.items()]
    own = f" (by `{', '.join(kept)}` of this package)" if kept else ""
    return True, [
        path.stem,
        tagged,
        ", ".join([*([said] if said else []), *named]) + own,
        code(first.conventions.form.name),
        first.conventions.described_by,
        "yes" if first.conventions.several else "no",
    ]


def code(text: str) -> str:
    """With tags as code, so that a page shows them."""
    return re.sub(r"<[^ ]*>", lambda found: f"`{found.group()}`", text)


def short(refusal: str) -> str:
    """A refusal without the ways out."""
    cut = re.sub(r" \(read are: .*?\)(?=:)", "", refusal)
    cut = re.split(r": (?:use protocol|give it what)", cut)[0]
    return re.sub(
        r"'[^']*<.*?'(?=,| becomes| once|\))", lambda found: f"`{found.group()}`", cut.removeprefix(COMMON)
    ).replace("|", "\\|")


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(folders: list[str]) -> None:
    """Print both tables."""
    paths = sorted((path for folder in folders for path in Path(folder).glob("*.jinja")), key=lambda p: p.stem.lower())
    if not paths:
        raise SystemExit("give folders with *.jinja files")
    rows = [row(path) for path in paths]
    good, bad = ([cells for works, cells in rows if works is wanted] for wanted in (True, False))
    print(f"{len(paths)} templates: chat works with {len(good)}, is refused with {len(bad)}.\n")
    print(table(["Template", "`tags`", "`chat`", "Calls", "Tools told by", "Several calls"], good), end="\n\n")
    print(table(["Template", "`tags`", "`chat` is refused, because the template ..."], bad))


if __name__ == "__main__":
    main(sys.argv[1:])
