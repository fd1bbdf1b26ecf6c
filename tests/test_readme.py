"""The README is also the page on PyPI: short, and no link in it is relative or dead."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
LINKS = re.findall(r"\]\(([^)\s]+)\)", TEXT)
OWN = re.compile(
    r"https://(?:github\.com/aepo-rl/aepo-rl/blob|raw\.githubusercontent\.com/aepo-rl/aepo-rl)/(?:main/)(.+)"
)


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= 110


def test_every_link_is_absolute() -> None:
    assert LINKS
    assert [link for link in LINKS if not link.startswith("https://")] == []


def test_links_to_this_repository_name_files_and_headings_that_are_there() -> None:
    own = [match[1].partition("#") for link in LINKS if (match := OWN.fullmatch(link))]
    assert own
    assert [path for path, _, _ in own if not (ROOT / path).is_file()] == []
    for path, _, anchor in own:
        if anchor:
            headings = re.findall(r"^#+ (.+)$", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
