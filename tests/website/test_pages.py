"""Pages of the repository become pages of the site: their links lead to the same things there."""

from __future__ import annotations

from pathlib import Path

import pytest

from website import check, pages


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    written = {
        "docs/index.md": "[code](../src/a.py), [text](how/do.md#x), [rules](../CONTRIBUTING.md), ![tree](tree.png)\n",
        "docs/how/do.md": "[all](../../src) and [gone](gone.md), [web](https://example.org)\n\n```text\n[a](../index.md)\n```\n",
        "docs/tree.png": "",
        "CONTRIBUTING.md": "[start](docs/index.md)\n",
        "src/a.py": "x = 1\n",
        "src/b.py": '"""\n```text\ncode\n```\n"""\n',
    }
    for name, text in written.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_links_lead_to_the_same_things_on_the_site(repository: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    assert pages.gather(target, repository) == {"src/a.py", "src"}
    index = (target / "index.md").read_text(encoding="utf-8")
    assert index == "[code](source/src/a.py.md), [text](how/do.md#x), [rules](CONTRIBUTING.md), ![tree](tree.png)\n"
    assert (target / "CONTRIBUTING.md").read_text(encoding="utf-8") == "[start](index.md)\n"
    assert (target / "tree.png").is_file()


def test_what_is_not_there_is_left_for_the_check_and_code_is_left_alone(repository: Path, tmp_path: Path) -> None:
    pages.gather(tmp_path / "site", repository)
    text = (tmp_path / "site" / "how" / "do.md").read_text(encoding="utf-8")
    assert text.startswith("[all](../source/src.md) and [gone](gone.md), [web](https://example.org)\n")
    assert "[a](../index.md)" in text


def test_files_that_pages_link_to_are_shown_with_an_anchor_a_line(repository: Path, tmp_path: Path) -> None:
    pages.write_sources(tmp_path / "site", {"src", "src/a.py"}, repository)
    source = tmp_path / "site" / "source" / "src"
    assert '```python linenums="1"\nx = 1\n```' in (source / "a.py.md").read_text(encoding="utf-8")
    # A fence is longer than those in the file.
    assert '\n````python linenums="1"\n' in (source / "b.py.md").read_text(encoding="utf-8")
    folder = source.with_suffix(".md").read_text(encoding="utf-8")
    assert "[`a.py`](src/a.py.md)" in folder and "[`b.py`](src/b.py.md)" in folder


def test_every_written_page_is_in_the_navigation() -> None:
    written = {pages.place(path).removesuffix(".md") + ".html" for path in pages.written_pages()}
    assert written <= check.navigation()
