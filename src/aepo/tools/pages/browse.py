"""The `browse` tool: an address in, the text of the page out, a part at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from aepo.tools.base import Tool, tool
from aepo.tools.pages.guard import Guard, Resolve
from aepo.tools.sandbox.base import Sandbox
from aepo.tools.sandbox.choose import choose
from aepo.tools.sandbox.packages import HOST
from aepo.types import ToolError

if TYPE_CHECKING:
    from aepo.tools.pages.connect import Dial
    from aepo.tools.pages.extract import Extract
    from aepo.tools.pages.fetch import Fetcher
    from aepo.tools.pages.rendered import Renderer

# Starting a browser or a sandbox, twice, and parsing on a busy machine: these have limits of their own.
_MORE_SECONDS = 180.0


def browse(
    allow: Iterable[str] = (),
    rendered: bool = False,
    timeout: float = 15.0,
    max_bytes: int = 5 << 20,
    max_characters: int = 4000,
    concurrency: int = 16,
    sandbox: Sandbox | str | None = None,
    resolve: Resolve | None = None,
    dial: Dial | None = None,
) -> Tool:
    """A tool named "browse" with the arguments `url` and `page`: which part of a long page.

    Args:
        allow: Addresses that may be visited though they are not public: "wiki.corp", "wiki.corp:9000", "10.0.0.0/8".
        rendered: Run the page's scripts in a Chromium of this machine; needs the extra `browser`.
        timeout: Seconds until a page is there, redirects included; reading it has limits of its own.
        max_bytes: Of a page, on the wire and decompressed; when rendered, of its HTML and a tenth of all that it loads.
        max_characters: Of one part, at most 16,000.
        concurrency: Pages at once.
        sandbox: Where pages are parsed: a sandbox whose programs can import trafilatura and pypdf, or what `choose`
            takes; by default what that finds.
        resolve: From a host name and port to addresses; the system's resolver by default.
        dial: Opens a connection to a checked address; plain TCP by default.

    Raises:
        ImportError: The extra `[pages]` is not installed, or for `rendered` the extra `[browser]`.
        FileNotFoundError: `rendered` is asked for and there is no Chromium.
        SandboxUnavailable: No sandbox contains untrusted code on this host.
        ValueError: An entry of `allow` cannot be read, or a limit is not positive.
    """
    from aepo.tools.pages import connect
    from aepo.tools.pages.extract import MOST_CHARACTERS, extract, versions
    from aepo.tools.pages.fetch import Fetcher, named

    if isinstance(allow, str):
        raise ValueError(f"tool browse: allow is a list, e.g. [{allow!r}]")
    allow = sorted(allow)
    if timeout <= 0 or max_bytes <= 0 or not 0 < max_characters <= MOST_CHARACTERS:
        raise ValueError(
            f"tool browse: timeout, max_bytes and max_characters must be positive, the last one up to {MOST_CHARACTERS}"
        )
    guard = Guard(allow, resolve)
    backend = connect.GuardedBackend(guard, dial or connect.dial)
    fetcher = Fetcher(guard, backend, connect.trust(), timeout, max_bytes)
    fetch = _renderer(fetcher).fetch if rendered else fetcher.fetch
    box = _sandbox(sandbox)
    parsers = versions(box)

    @tool(
        name="browse",
        timeout=timeout + _MORE_SECONDS,
        concurrency=concurrency,
        max_characters=max_characters + 200,
        version="/".join([parsers, "rendered" if rendered else "plain", str(max_characters), *allow]),
        pure=True,
        service="pages",
    )
    async def run_browse(url: str, page: int = 1) -> str:
        """Open a web page or a PDF and read its text.

        Args:
            url: The address, beginning with http:// or https://.
            page: Which part of a long text to read; 1 is the beginning.
        """
        if page < 1:
            raise ToolError("page counts from 1")
        document = await fetch(url)
        start = (page - 1) * max_characters
        with named(document.url):
            found = await extract(document.content, document.kind, box, document.charset, start, max_characters)
            return told(found, page, max_characters)

    details = {"sandbox": box.name} | ({"allow": ", ".join(allow)} if allow else {})
    return replace(run_browse, details=details)


def _sandbox(asked: Sandbox | str | None) -> Sandbox:
    if asked is not None and not isinstance(asked, str):
        return asked
    at_a_service = asked is not None and asked.startswith(("http://", "https://"))
    return choose(asked, None if at_a_service else HOST)


def _renderer(fetcher: Fetcher) -> Renderer:
    try:
        from aepo.tools.pages.rendered import Renderer
    except ImportError as error:
        raise ImportError("browse(rendered=True) needs the extra: pip install 'aepo-rl[browser]'") from error
    return Renderer(fetcher)


def told(found: Extract, page: int, size: int) -> str:
    """The text of part `page`, with a line that says how to read on.

    Raises:
        ToolError: There is no such part, or no text.
    """
    parts = -(-found.characters // size)
    if not parts:
        raise ToolError("there is no text on this page")
    if page > parts:
        raise ToolError(f"there is no part {page}, the last one is {parts}")
    return found.text if page == parts else f"{found.text}\n[part {page} of {parts}; page={page + 1} reads on]"
