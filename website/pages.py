"""Gathers the sources of the site: the repository's pages, and a page for every file that they or the reference name.

A page is written for the repository: its links hold on any host of git. Here those that leave `docs/` lead to the pages
of `source/`, so that the site needs no address of a repository and can be checked as a whole.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
# Pages outside of docs/ that are read on the site too.
ROOT_PAGES = ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
_LINK = re.compile(r"(?<=\]\()([^()\s]+)(?=\))")
_FENCE = re.compile(r"^\s*(`{3,}|~{3,})")
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".json": "json", ".md": "markdown"}


def gather(target: Path, root: Path = ROOT) -> set[str]:
    """Write all pages of the repository into `target`, which is emptied first.

    Args:
        target: Folder of the site's sources.
        root: Of the repository.

    Returns:
        Files and folders of the repository that the pages link to and that are no pages themselves.
    """
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(root / "docs", target)
    shutil.copy(Path(__file__).with_name("site.css"), target)
    linked: set[str] = set()
    for path in written_pages(root):
        text, found = relinked((root / path).read_text(encoding="utf-8"), path, root)
        write(target / place(path), text)
        linked |= found
    return linked


def written_pages(root: Path = ROOT) -> list[str]:
    """Paths in the repository of what becomes a page of its own."""
    pages = sorted(path.relative_to(root).as_posix() for path in (root / "docs").rglob("*.md"))
    return pages + [path for path in ROOT_PAGES if (root / path).is_file()]


def place(path: str) -> str:
    """Where a file of the repository is on the site."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return path if path in ROOT_PAGES else f"source/{path}.md"


def relinked(text: str, path: str, root: Path = ROOT) -> tuple[str, set[str]]:
    """A page whose links fit the site, and the files of the repository that it links to.

    Args:
        text: The page.
        path: Its path in the repository.
        root: Of the repository.
    """
    linked: set[str] = set()

    def link(match: re.Match[str]) -> str:
        address, hash_sign, anchor = match[0].partition("#")
        if not address or re.match(r"[a-z]+:", address):
            return match[0]
        file = os.path.normpath(PurePosixPath(path).parent / address)
        if file.startswith("..") or not (root / file).exists():
            return match[0]
        if place(file).startswith("source/"):
            linked.add(file)
        return relative(place(file), place(path)) + hash_sign + anchor

    return "\n".join(line if in_code else _LINK.sub(link, line) for line, in_code in _lines(text)) + "\n", linked


def write_sources(target: Path, files: set[str], root: Path = ROOT) -> None:
    """Write a page for each of these files and folders of the repository, and for what is in the folders.

    Args:
        target: Folder of the site's sources.
        files: Paths in the repository.
        root: Of the repository.
    """
    for file in sorted(files):
        inside = sorted((root / file).glob("*.py")) if (root / file).is_dir() else [root / file]
        for path in inside:
            name = path.relative_to(root).as_posix()
            write(target / place(name), source_page(name, path.read_text(encoding="utf-8")))
        if (root / file).is_dir():
            rows = [f"- [`{path.name}`]({relative(place(f'{file}/{path.name}'), place(file))})" for path in inside]
            write(target / place(file), _unlisted(f"`{file}`", "\n".join(rows)))


def source_page(name: str, text: str) -> str:
    """A page that shows a file, with an anchor for each line: `line(7)` is that of the seventh."""
    longest = max((len(run) for run in re.findall("`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    language = _LANGUAGES.get(PurePosixPath(name).suffix, "text")
    return _unlisted(f"`{name}`", f'{fence}{language} linenums="1"\n{text.rstrip()}\n{fence}')


def line(number: int) -> str:
    """The anchor of a line on the page of a file."""
    return f"__codelineno-0-{number}"


def relative(to: str, page: str) -> str:
    """The link from one page of the site to another."""
    return os.path.relpath(to, PurePosixPath(page).parent)


def write(path: Path, text: str) -> None:
    """Write a file and the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _unlisted(title: str, body: str) -> str:
    return f"---\nhide: [navigation, toc]\nsearch:\n  exclude: true\n---\n\n# {title}\n\n{body}\n"


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Lines, and whether they belong to a fenced block."""
    fence = ""
    for line in text.splitlines():
        mark = _FENCE.match(line)
        yield line, bool(fence or mark)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence):
            fence = ""
