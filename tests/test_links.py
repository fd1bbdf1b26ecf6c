"""Links inside the Markdown files of the repository lead to files that are there, and anchors to headings of theirs."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
# Made from the code when the site is built; `website.check` follows these links there.
_MADE = "reference/"


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the headings of a page; a name that comes again gets a number."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        name = re.sub(r"[^\w -]", "", words).replace(" ", "-")
        taken = sum(one == name or one.startswith(f"{name}-") for one in found)
        found.add(f"{name}-{taken}" if name in found else name)
    return found | set(re.findall(r'<a (?:id|name)="([^"]+)"', text))


def faults(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    links = _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8")))
    wrong = []
    for link in links:
        path, _, anchor = unquote(link).partition("#")
        target = page if not path else (page.parent / path).resolve()
        if re.match(r"[a-z]+:", link) or _MADE in path:
            continue
        headings = anchors(target) if target.suffix == ".md" and target.is_file() else {anchor}
        if not target.exists() or (anchor and anchor not in headings):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert faults(page) == []


def test_a_link_to_no_file_and_one_to_no_heading_are_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text("# A b\n[x](#a-b) [y](#c) [z](d.md) [w](a.md#a-b) `[v](e.md)` [u](https://example.org/#q)\n")
    assert faults(page) == ["#c", "d.md"]
