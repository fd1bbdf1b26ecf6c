"""Each token of a trajectory has a text of its own, and together they are the whole text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aepo.runs.token_texts import TokenTexts


def of_bytes(tokens: list[int]) -> str:
    return bytes(tokens).decode(errors="replace")


def test_characters_of_several_tokens_are_shown_on_the_last_one() -> None:
    texts = TokenTexts(of_bytes)
    assert texts(list("aé漢🙂b".encode())) == ["a", "", "é", "", "", "漢", "", "", "", "🙂", "b"]
    broken = texts([0xE6, 0xBC])
    assert len(broken) == 2 and "\ufffd" in "".join(broken)
    never = texts([0xFF] * 20 + [97])
    assert len(never) == 21 and never[-1].endswith("a")
    assert texts([]) == []


@given(st.text())
def test_joined_they_are_the_whole_text(text: str) -> None:
    pieces = TokenTexts(of_bytes)(list(text.encode(errors="replace")))
    assert "".join(pieces) == text.encode(errors="replace").decode()


def test_leading_spaces_survive_tokenizers_that_drop_them() -> None:
    vocabulary = [" the", " cat", "s"]

    def decode(tokens: list[int]) -> str:
        return "".join(vocabulary[token] for token in tokens).removeprefix(" ")

    assert TokenTexts(decode)([0, 1, 2, 0]) == ["the", " cat", "s", " the"]


def test_a_token_is_decoded_once_for_all_texts() -> None:
    asked: list[tuple[int, ...]] = []

    def decode(tokens: list[int]) -> str:
        asked.append(tuple(tokens))
        return of_bytes(tokens)

    texts = TokenTexts(decode)
    for text in (b"to be or not", b"or not to be"):
        assert "".join(texts(list(text))) == text.decode()
    assert len([tokens for tokens in asked if len(tokens) == 1]) == len(set(b"to be or not"))
    assert len([tokens for tokens in asked if len(tokens) > 1]) == 2
