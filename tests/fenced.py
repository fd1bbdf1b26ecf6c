"""The fenced blocks of a Markdown page, with the remark that says why one is not run."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from markdown_it import MarkdownIt

_NOT_RUN = re.compile(r"<!--\s*not run:\s*(.*?)\s*-->\s*\Z", re.DOTALL)
_ASSIGNMENT = re.compile(r"[A-Z_]+=.*")


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        line: Of the page, from 1, on which it begins.
        language: As the fence says; "" without one, and "indented" for code without a fence.
        text: What is in it.
        not_run: The reason of `<!-- not run: reason -->` right before it; None without such a remark.
    """

    line: int
    language: str
    text: str
    not_run: str | None = None

    @property
    def file(self) -> str | None:
        """The name of the file that a block of Python stands for: `# name.py` in its first line."""
        match = re.match(r"# (\w+\.py)\b", self.text)
        return match[1] if match and self.language == "python" else None

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command of a block of bash, without comments and variables before it.

        Raises:
            ValueError: A quotation is not closed.
        """
        lines = self.text.replace("\\\n", " ").splitlines()
        found = [shlex.split(line, comments=True) for line in lines]
        return [_without_variables(words) for words in found if words]


def blocks(page: str) -> list[Block]:
    """All blocks of a page, also those in lists and quotations.

    Args:
        page: Its Markdown.
    """
    found: list[Block] = []
    before = ""
    for token in MarkdownIt().parse(page):
        if token.type in ("fence", "code_block"):
            language = "indented" if token.type == "code_block" else token.info.split()[0] if token.info.strip() else ""
            remark = _NOT_RUN.search(before)
            line = token.map[0] + 1 if token.map else 0
            found.append(Block(line, language, token.content, remark[1] if remark else None))
        before = token.content if token.type == "html_block" else ""
    return found


def remarks(page: str) -> int:
    """How often a page says that something is not run."""
    return len(re.findall(r"<!--\s*not run\b", page))


def _without_variables(words: list[str]) -> list[str]:
    first = next((at for at, word in enumerate(words) if not _ASSIGNMENT.fullmatch(word)), len(words))
    return words[first:]
