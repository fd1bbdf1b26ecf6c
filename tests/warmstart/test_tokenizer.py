"""Tags are single tokens, and a number has the same tokens everywhere."""

from __future__ import annotations

from aepo.warmstart.tokenizer import train_tokenizer


def test_numbers_and_tags_are_the_same_tokens_everywhere() -> None:
    tokenizer = train_tokenizer(["What is the capital of Spain?", "population 792492, Spain"] * 50, ["search"], 420)
    inside = tokenizer.encode(" with 792492 people", add_special_tokens=False)
    alone = tokenizer.encode("792492", add_special_tokens=False)
    assert alone == [tokenizer.convert_tokens_to_ids(pair) for pair in ("79", "24", "92")]
    assert any(inside[i : i + 3] == alone for i in range(len(inside)))
    assert len(tokenizer.encode("</search>", add_special_tokens=False)) == 1
