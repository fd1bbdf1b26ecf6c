"""Docs, help and messages are read by people whose first language is another one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
SOURCES = sorted((ROOT / "src" / "aepo").rglob("*.py"))
# After the end of a sentence, at the start of a line of a list or a table, after a colon, at the start of a docstring.
OF = re.compile(r'(?:^|[.!?:] |\| |^\s*- |""")Of [a-z`*]', re.MULTILINE)


@pytest.mark.parametrize("paths", [PAGES, SOURCES], ids=["pages", "sources"])
def test_no_sentence_begins_with_of(paths: list[Path]) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {text[one.start() : one.end() + 30]!r}"
        for path in paths
        for text in [path.read_text(encoding="utf-8")]
        for one in OF.finditer(text)
    ]
    assert found == []
