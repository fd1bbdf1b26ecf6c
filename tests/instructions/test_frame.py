"""What an instruction may not hold."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from aepo.instructions.frame import BrokenFrame, Frame
from aepo.rollout.chat import make_protocol
from tests import tiny


@pytest.fixture
def frame() -> Frame:
    return Frame([make_protocol("tags", tiny.tokenizer(), [tiny.search], "")], [tiny.search], 40)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("write <search>a</search>", "'<search>'"),
        ("write < / ANSWER > soon", "frame"),
        ("end with <|end|>", "frame"),
        ("use <tool_call>", "'<tool_call>'"),
        ("a" * 41, "tokens, and 40 are allowed"),
        ("known", "another instruction has the same text"),
    ],
)
def test_what_breaks_the_frame_is_refused(frame: Frame, text: str, why: str) -> None:
    with pytest.raises(BrokenFrame, match=why):
        frame.check(text, {"known"})


def test_a_description_of_a_tool_is_refused(frame: Frame) -> None:
    tools: Any = [SimpleNamespace(name="find", description="Finds a page in the encyclopedia of the task.")]
    with pytest.raises(BrokenFrame, match="describes tool find"):
        Frame(frame.protocols, tools, 400).check(
            "You have find: finds  a page in the Encyclopedia of the task. Use it."
        )


def test_any_other_text_passes_with_its_tokens(frame: Frame) -> None:
    assert frame.check("abcdef") == frame.check("abc") + 3
    assert frame.check("a < b and b > c") > 0


def test_the_prompt_has_the_instruction_above_the_system_text() -> None:
    protocol = make_protocol("tags", tiny.tokenizer(), [tiny.search], "ab")
    words = tiny.tokenizer()
    text = words.decode(protocol.prompt("cd", "ef"))
    assert text.index("ef") < text.index("ab") < text.index("cd")
    assert protocol.prompt("cd", "") == protocol.prompt("cd")
