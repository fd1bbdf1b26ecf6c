"""Results are cut so that the whole observation fits, in tokens as the tokenizer counts them."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aepo.rollout.chat import ChatProtocol, make_protocol
from aepo.rollout.fitting import fitted, room_for_results
from aepo.types import ToolCall, ToolResult, ToolStatus
from tests.rollout.chat.conftest import LLAMA3, QWEN25, SMOLLM2, TOOLS, build_tokenizer

CALL = ToolCall("search", {"query": "capital"})
NOTE = re.compile(r"\n?\[cut: (\d+) more characters\]\Z")
PROTOCOLS = {
    "tags": make_protocol("tags", build_tokenizer(SMOLLM2, tag_tokens=True), TOOLS),
    "tool message": make_protocol("chat", build_tokenizer(QWEN25), TOOLS),
    "user message": make_protocol("chat", build_tokenizer(SMOLLM2), TOOLS),
    "quoted": make_protocol("chat", build_tokenizer(LLAMA3, eos="<|eot_id|>"), TOOLS),
}


def letters(results: Sequence[ToolResult]) -> list[int]:
    """An observation of one token before the results, and one for each character."""
    return [0, *(ord(letter) for result in results for letter in result.text)]


def fit(text: str, room: int, max_tokens: int) -> str | None:
    found = fitted(letters, [ToolResult(text)], room, max_tokens)
    return None if found is None else found[0][0].text


@pytest.mark.parametrize(("room", "most"), [(800, 700), (150, 75), (3, 2), (2, 1), (1, 0)])
def test_an_eighth_of_all_tokens_is_left_or_half_of_the_last_ones(room: int, most: int) -> None:
    assert room_for_results(room, 800) == most


def test_a_result_at_exactly_the_limit_stays_whole() -> None:
    assert fit("x" * 699, 800, 800) == "x" * 699
    text = fit("x" * 700, 800, 800)
    assert text is not None
    kept = text.index("\n")
    assert text == "x" * kept + f"\n[cut: {700 - kept} more characters]"
    assert 685 <= len(text) <= 699


def test_a_result_that_is_shorter_than_any_note_stays_whole_while_one_token_is_left() -> None:
    assert fit("Paris", 7, 800) == "Paris"
    assert fit("Paris", 6, 800) is None


def test_a_note_alone_is_shown_while_one_token_is_left() -> None:
    assert fit("x" * 1000, 29, 800) == "[cut: 1000 more characters]"
    assert fit("x" * 1000, 28, 800) is None


def test_the_longest_results_of_a_turn_are_cut() -> None:
    long, short = ToolResult("x" * 900, seconds=2.0), ToolResult("not found", ToolStatus.ERROR)
    found = fitted(letters, [long, short, long], 800, 800)
    assert found is not None
    (first, second, third), tokens = found
    assert second is short and first == third
    assert (first.cut, first.seconds, first.status, second.cut) == (True, 2.0, ToolStatus.OK, False)
    assert 690 <= len(tokens) <= 700


def test_a_note_of_the_tool_itself_is_counted_in() -> None:
    text = fit("x" * 1000 + "\n[cut: 5000 more characters]", 400, 800)
    assert text is not None
    kept = text.index("\n")
    assert text == "x" * kept + f"\n[cut: {6000 - kept} more characters]"


def test_a_megabyte_is_never_encoded_whole() -> None:
    seen: list[int] = []

    def write(results: Sequence[ToolResult]) -> list[int]:
        seen.append(sum(len(result.text) for result in results))
        return letters(results)

    found = fitted(write, [ToolResult("word " * 200_000)], 800, 800)
    assert found is not None and len(found[1]) <= 700
    assert max(seen) < 8000 and len(seen) < 15


WORDS = ["a", " capital", " of", "France", "\n", "\n\n", "    ", "é", "\U0001f99c", "</result>", "<", '"']


@pytest.mark.parametrize("name", list(PROTOCOLS))
@settings(max_examples=40)
@given(data=st.data())
def test_what_is_written_fits_and_says_what_is_missing(name: str, data: st.DataObject) -> None:
    protocol: ChatProtocol = PROTOCOLS[name]
    texts = data.draw(st.lists(st.lists(st.sampled_from(WORDS), max_size=200).map("".join), min_size=1, max_size=3))
    results, calls = [ToolResult(text) for text in texts], [CALL] * len(texts)
    max_tokens = data.draw(st.integers(8, 400))
    room = data.draw(st.integers(1, max_tokens))

    def write(shown: Sequence[ToolResult]) -> list[int]:
        return protocol.observation(shown, calls)

    found = fitted(write, results, room, max_tokens)
    if found is None:
        return
    shown, tokens = found
    assert tokens == write(shown)
    assert len(tokens) < room
    for given_, seen in zip(results, shown, strict=True):
        if not seen.cut:
            assert seen is given_
            continue
        note = NOTE.search(seen.text)
        assert note is not None
        kept = seen.text[: note.start()]
        assert given_.text.startswith(kept)
        assert len(kept) + int(note.group(1)) == len(given_.text)
        assert len(tokens) <= room_for_results(room, max_tokens) or not kept
