"""Extracts a document's text in a sandbox, because a document can make its parser run for long or crash."""

from __future__ import annotations

import base64
import re
import signal
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aepo.process import event_loop
from aepo.tools.pages.fetch import FetchedDocument
from aepo.tools.sandbox.base import Sandbox, SandboxResult, SandboxStatus
from aepo.tools.sandbox.retry import run_retried
from aepo.types import ToolError

CPU_SECONDS = 3
"""Processor time for one document, including the start of its parser."""

WALL_SECONDS = 30.0
"""Limit on the wall time of one document, for a busy machine."""

_VERSIONS = """from importlib.metadata import version
import chardet, lxml.html, pypdf, webencodings
print(', '.join(f'{name} {version(name)}' for name in ('lxml', 'pypdf', 'chardet', 'webencodings')))
"""
_VERSIONS_SECONDS = 120.0
"""Limit on the wall time of `versions`, because the first import reads libraries from the disk."""

MOST_CHARACTERS = 16_000
"""The longest part of a text. In any script it fits into the output that a sandbox keeps."""

MOST_LINKS = 200
"""Most links in one part."""


@dataclass(frozen=True)
class Extract:
    """A part of a document.

    Attributes:
        text: The part's text.
        links: The part's links, one in each line.
        parts: Number of parts of the document; for a PDF, of the page that was asked for.
        pages: Number of pages of a PDF; 0 for other documents.
        last: The last page of a PDF in `text`, which may hold several pages.
    """

    text: str
    links: str = ""
    parts: int = 1
    pages: int = 0
    last: int = 0


def versions(sandbox: Sandbox) -> str:
    """List the parsers that programs in a sandbox can import, e.g. "lxml 6.1.3, pypdf 7.1.1, ..."; takes about 1 s.

    Raises:
        ImportError: A parser cannot be imported; the message says what to install.
    """
    result = event_loop.run(sandbox.run, _VERSIONS, _VERSIONS_SECONDS)
    if result.status is not SandboxStatus.OK:
        raise ImportError(
            f"pages cannot be read in the sandbox {sandbox.name}: {_last_line(result)}; pip install 'aepo-rl[pages]' "
            f"(a sandbox of your own needs packages='host', a service lxml, pypdf, chardet and webencodings)"
        )
    return result.stdout.strip()


async def extract(
    document: FetchedDocument,
    sandbox: Sandbox,
    page: int = 1,
    part: int = 1,
    size: int = MOST_CHARACTERS,
    links: int = 0,
) -> Extract:
    """Extract a part of a document's text and links.

    Args:
        document: The fetched document.
        sandbox: The sandbox that parses it; its programs must be able to import the parsers that `versions` names.
        page: The first page to read of a PDF; the pages after it are added as far as they fit.
        part: The part of the text, or of the page of a PDF.
        size: Characters in a part, at most `MOST_CHARACTERS`.
        links: The most links in a part.

    Raises:
        ToolError: The document cannot be parsed, its parser takes too long or dies, or the sandbox fails twice.
    """
    packed = base64.b64encode(document.content).decode("ascii")
    size = min(size, MOST_CHARACTERS)
    call = (str(document.kind), document.charset, document.url, packed, CPU_SECONDS, page, part, size, links)
    program = f"{_source()}\nmain{call!r}\n"
    result = await run_retried(sandbox, program, WALL_SECONDS, "pages cannot be read now; go on without them")
    if result.status is not SandboxStatus.OK:
        raise ToolError(f"the page could not be read: {_reason(result)}")
    return _part(result.stdout)


def _part(printed: str) -> Extract:
    # A document may control its parser, so its output is checked.
    numbers, _, text = printed.partition("\n")
    if not re.fullmatch(r"[0-9]{1,9}( [0-9]{1,9}){3}", numbers):
        raise ToolError("the page could not be read: its parser printed something else than its text")
    parts, last, pages, shown = map(int, numbers.split())
    shown = min(shown, MOST_CHARACTERS)
    return Extract(text[:shown], text[shown:], parts, pages, last)


def _reason(result: SandboxResult) -> str:
    if result.status is SandboxStatus.TIMEOUT or result.returncode == -signal.SIGXCPU:
        return f"finding its text takes more than {CPU_SECONDS} s"
    if result.status is SandboxStatus.MEMORY_LIMIT:
        return "finding its text needs too much memory"
    if result.status is SandboxStatus.ERROR:
        return _last_line(result)
    return "its parser crashed, or used too much memory"


def _last_line(result: SandboxResult) -> str:
    return (result.stderr.strip().splitlines() or ["its parser failed"])[-1][:300]


@cache
def _source() -> str:
    return Path(__file__).with_name("inside.py").read_text(encoding="utf-8")
