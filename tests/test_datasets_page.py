"""The page about data sets says what the code says."""

from pathlib import Path

from aepo.tasks.datasets import NAMES, find

PAGE = Path(__file__).parents[1] / "docs" / "datasets.md"


def line(name: str) -> str:
    one = find(name)
    hub, gated = one.hub, "yes" if one.gated else "no"
    where = f"[`{hub.repository}`]({hub.page}), `{hub.split}`"
    return f"| `{name}` | {one.title} | {where} | {one.licence} | {gated} | {one.rows:,} | {one.method} |"


def test_the_table_is_that_of_the_code() -> None:
    table = [text for text in PAGE.read_text(encoding="utf-8").splitlines() if text.startswith("| `")]
    assert table == [line(name) for name in NAMES]
