"""The tables of the docs are what `benchmarks/cards.py` computes; a model of them is computed anew."""

from __future__ import annotations

import re
from pathlib import Path

from aepo.config import load
from benchmarks.cards import PASS_TOKENS, RANK, TOKENS, line, rows

DOCS = Path(__file__).parents[2] / "docs" / "how-to"
PAGE = DOCS / "vllm.md"
LAPTOP = DOCS / "one_gpu.md"


def cells(page: Path) -> dict[tuple[str, ...], list[str]]:
    """The shares of one GPU of 24, 48 and 80 GB in a page's table, by model and way of training."""
    rows = [row.split(" | ") for row in re.findall(r"^\| (\d.*B \| .*) \|$", page.read_text("utf-8"), re.MULTILINE)]
    return {tuple(row[:2]): [cell.split(":")[0] for cell in row[2:5]] for row in rows}


def test_the_table_of_the_docs_is_what_is_computed() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for row in rows(TOKENS, PASS_TOKENS, RANK, ["qwen3-1.7b"]):
        assert line(row) in text


def test_the_page_for_one_gpu_tells_the_same_shares() -> None:
    whole, short = cells(PAGE), cells(LAPTOP)
    assert len(short) == 12
    assert short.items() <= whole.items()


def test_each_command_of_the_page_for_one_gpu_stays_below_the_largest_share() -> None:
    shares = cells(LAPTOP)
    commands = re.findall(r"^aepo train (vllm-(\d+)gb)(.*)$", LAPTOP.read_text("utf-8"), re.MULTILINE)
    assert len(commands) == 5
    for name, card, overrides in commands[1:]:
        config = load(name, overrides.split())
        size = config.model.path.removeprefix("Qwen/Qwen3-").replace("B", " B")
        eight_bit = config.train.optimizer == "adamw_8bit"
        way = f"LoRA {RANK}" if config.model.lora else "full, `adamw_8bit`" if eight_bit else "full"
        most = shares[size, way][("24", "48", "80").index(card)]
        assert config.vllm.gpu_memory_utilization == float(most)
