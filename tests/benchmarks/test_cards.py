"""The table of docs/how-to/vllm.md is what `benchmarks/cards.py` computes; a model of it is computed anew."""

from __future__ import annotations

from pathlib import Path

from benchmarks.cards import PASS_TOKENS, RANK, TOKENS, line, rows

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "vllm.md"


def test_the_table_of_the_docs_is_what_is_computed() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for row in rows(TOKENS, PASS_TOKENS, RANK, ["qwen3-1.7b"]):
        assert line(row) in text
