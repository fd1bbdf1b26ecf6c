"""The check of the site finds what is broken in it, and nothing in one that is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from website import check

WHOLE = {
    "index.html": '<h1 id="top">A</h1><a href="guide/page.html#part">p</a><img src="a.png"><a href="#top">up</a>',
    "guide/page.html": '<h2 id="part">B</h2><a href="../index.html">back</a><a href="/index.html">front</a>'
    '<a href="https://example.org/x#y">elsewhere</a><a href="mailto:a@example.org">write</a>',
    "404.html": '<a href="/">front</a>',
    "source/a.py.html": "<p>a file</p>",
}
LISTED = {"index.html", "guide/page.html"}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for name, text in WHOLE.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "a.png").write_bytes(b"")
    return tmp_path


def test_a_whole_site_has_no_faults(site: Path) -> None:
    assert list(check.faults(site, LISTED)) == []


@pytest.mark.parametrize(
    ("added", "fault"),
    [
        ('<a href="gone.html">x</a>', "index.html: link to gone.html, which is not there"),
        ('<a href="guide/page.md">x</a>', "index.html: link to guide/page.md, which is not there"),
        ('<img src="gone.png">', "index.html: link to gone.png, which is not there"),
        ('<a href="../outside.html">x</a>', "index.html: link to ../outside.html, which is not there"),
        (
            '<a href="guide/page.html#gone">x</a>',
            "index.html: link to guide/page.html#gone, where nothing is called 'gone'",
        ),
        ('<a href="#gone">x</a>', "index.html: link to #gone, where nothing is called 'gone'"),
        (
            '<script src="https://cdn.example.org/a.js"></script>',
            "index.html: loads https://cdn.example.org/a.js from elsewhere",
        ),
        (
            '<link rel="stylesheet" href="//fonts.example.org/a.css">',
            "index.html: loads //fonts.example.org/a.css from elsewhere",
        ),
    ],
    ids=["page", "source", "image", "outside", "anchor", "own-anchor", "script", "font"],
)
def test_one_fault_is_one_line(site: Path, added: str, fault: str) -> None:
    (site.parent / "outside.html").write_text("", encoding="utf-8")
    (site / "index.html").write_text(WHOLE["index.html"] + added, encoding="utf-8")
    assert list(check.faults(site, LISTED)) == [fault]


def test_a_page_that_the_navigation_leaves_out_is_found(site: Path) -> None:
    (site / "orphan.html").write_text("<p>alone</p>", encoding="utf-8")
    assert list(check.faults(site, LISTED)) == ["orphan.html: not in the navigation"]


def test_a_page_that_is_only_in_the_navigation_is_found(site: Path) -> None:
    faults = list(check.faults(site, LISTED | {"lost.html"}))
    assert faults == ["lost.html: in the navigation, but there is no such page"]


def test_a_folder_without_pages_is_a_fault(tmp_path: Path) -> None:
    assert list(check.faults(tmp_path, set())) == [f"{tmp_path}: no pages here"]


def test_the_exit_code_says_whether_there_are_faults(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "navigation", lambda: LISTED)
    assert check.main(site) == 0
    (site / "a.png").unlink()
    check.read.cache_clear()
    assert check.main(site) == 1
    assert capsys.readouterr().out == "index.html: link to a.png, which is not there\n"


def test_the_navigation_is_read_at_every_depth(tmp_path: Path) -> None:
    settings = tmp_path / "zensical.toml"
    nav = '[{ "A" = "index.md" }, "b.md", { "C" = ["c/d.md", { "E" = [{ "F" = "c/f.md" }] }] }]'
    settings.write_text(f"[project]\nnav = {nav}\n", encoding="utf-8")
    assert check.navigation(settings) == {"index.html", "b.html", "c/d.html", "c/f.html"}
