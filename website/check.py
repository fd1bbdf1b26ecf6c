"""Checks the built site: links, anchors and images lead somewhere, every page is in the navigation, nothing is remote.

`python website/check.py SITE` prints one line for each fault and ends with 1 if there is any.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).parent
SETTINGS = HERE / "zensical.toml"
# Pages that only links lead to: files of the repository, and what a server shows for a wrong address.
UNLISTED = ("source/", "404.html")
_LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "link": "href"}


@dataclass
class Page(HTMLParser):
    """What a page has and wants.

    Attributes:
        anchors: Names that a link may end with.
        links: Addresses that it leads to.
        loaded: Addresses of what a browser fetches to show it.
    """

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make it a parser."""
        super().__init__()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Take what an element says."""
        given = {name: value or "" for name, value in attributes}
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in _LOADS and given.get(_LOADS[tag]) and given.get("rel") not in ("canonical", "prev", "next"):
            self.loaded.append(given[_LOADS[tag]])


@cache
def read(path: Path) -> Page:
    """A page, parsed."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def faults(site: Path, listed: set[str]) -> Iterator[str]:
    """One line for each fault.

    Args:
        site: Folder of the built site.
        listed: Pages of the navigation, as paths in the site.
    """
    built = {path.relative_to(site).as_posix(): path for path in sorted(site.rglob("*.html"))}
    if not built:
        yield f"{site}: no pages here"
    for name, path in built.items():
        if name not in listed and not name.startswith(UNLISTED):
            yield f"{name}: not in the navigation"
        page = read(path)
        for address in page.loaded:
            if urlsplit(address).netloc:
                yield f"{name}: loads {address} from elsewhere"
        for address in dict.fromkeys(page.links + page.loaded):
            if fault := broken(site, path, address):
                yield f"{name}: {fault}"
    for name in sorted(listed - built.keys()):
        yield f"{name}: in the navigation, but there is no such page"


def broken(site: Path, page: Path, address: str) -> str | None:
    """What is wrong with a link; None if nothing is, or if it leaves the site.

    Args:
        site: Folder of the built site.
        page: File that has the link.
        address: What it says.
    """
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return None
    path = unquote(parts.path)
    start = site if path.startswith("/") else page.parent
    target = (start / path.lstrip("/")).resolve() if path else page.resolve()
    if target.is_dir():
        target /= "index.html"
    if not target.is_file() or not target.is_relative_to(site.resolve()):
        return f"link to {address}, which is not there"
    anchor = unquote(parts.fragment)
    if anchor and target.suffix == ".html" and anchor not in read(target).anchors:
        return f"link to {address}, where nothing is called {anchor!r}"
    return None


def navigation(settings: Path = SETTINGS) -> set[str]:
    """The pages of the navigation, as paths in the built site."""
    return set(_pages(tomllib.loads(settings.read_text(encoding="utf-8"))["project"]["nav"]))


def _pages(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry.removesuffix(".md") + ".html"
    else:
        for inner in entry.values() if isinstance(entry, dict) else entry:
            yield from _pages(inner)


def main(site: Path) -> int:
    """Print the faults; 1 if there are any."""
    found = list(faults(site, navigation()))
    print(*found, sep="\n", end="\n" if found else "")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "build" / "site"))
