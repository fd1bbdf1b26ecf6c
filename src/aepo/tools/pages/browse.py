"""The `browse` tool. It opens an address and returns the text and the links of the page, one part at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
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

# Time to start a browser or a sandbox, twice, and to parse on a busy machine. These steps have limits of their own.
_MORE_SECONDS = 180.0


def browse(
    allow: Iterable[str] = (),
    rendered: bool = False,
    timeout: float = 15.0,
    max_bytes: int = 5 << 20,
    max_characters: int = 4000,
    links: int = 30,
    concurrency: int = 16,
    sandbox: Sandbox | str | None = None,
    resolve: Resolve | None = None,
    dial: Dial | None = None,
) -> Tool:
    """Make a tool named "browse" with the argument `url`; `page` and `part` choose a part of a long document.

    Args:
        allow: Hosts and networks that may be visited although they are not public: "wiki.corp", "wiki.corp:9000",
            "10.0.0.0/8".
        rendered: Run the page's scripts in a Chromium of this machine; this needs the extra `browser`.
        timeout: Seconds to fetch a page, including redirects. Parsing has limits of its own.
        max_bytes: The largest size of a page in bytes, before and after it is unpacked. If it is rendered: the largest
            size of its HTML, and a tenth of the limit on all that it loads.
        max_characters: The longest text of one part, at most 16,000 characters.
        links: The most links in one part, with at most 100 times as many characters; 0 for none.
        concurrency: Pages at once.
        sandbox: The sandbox that parses pages, or its name for `choose`, which also chooses the default. Its programs
            must be able to import lxml, pypdf, chardet and webencodings.
        resolve: A function that finds the addresses of a host name and port; by default the system's resolver.
        dial: A function that opens a connection to a checked address; by default plain TCP.

    Raises:
        ImportError: The extra `[pages]` is not installed, or for `rendered` the extra `[browser]`.
        FileNotFoundError: `rendered` is set and there is no Chromium.
        SandboxUnavailable: No sandbox contains untrusted code on this host.
        ValueError: An entry of `allow` cannot be read, or a limit is out of its range.
    """
    from aepo.tools.pages.extract import MOST_CHARACTERS, MOST_LINKS, versions

    if isinstance(allow, str):
        raise ValueError(f"tool browse: allow is a list, e.g. [{allow!r}]")
    allow = sorted(allow)
    if timeout <= 0 or max_bytes <= 0 or not 0 < max_characters <= MOST_CHARACTERS:
        raise ValueError(
            f"tool browse: timeout, max_bytes and max_characters must be positive, the last one up to {MOST_CHARACTERS}"
        )
    if not 0 <= links <= MOST_LINKS:
        raise ValueError(f"tool browse: links is {links}, must be from 0 to {MOST_LINKS}")
    web = _web(Guard(allow, resolve), dial, timeout, max_bytes, rendered)
    box = _sandbox(sandbox)
    parsers = versions(box)
    made = tool(
        name="browse",
        timeout=timeout + _MORE_SECONDS,
        concurrency=concurrency,
        max_characters=max_characters + 101 * links + 200,
        version="/".join([parsers, "rendered" if rendered else "plain", str(max_characters), str(links), *allow]),
        pure=True,
        service="pages",
    )(_reading(web, box, max_characters, links))
    details = {"sandbox": box.name} | ({"allow": ", ".join(allow)} if allow else {})
    return replace(made, details=details)


def _reading(web: Fetcher | Renderer, box: Sandbox, max_characters: int, links: int) -> Callable[..., Awaitable[str]]:
    from aepo.tools.pages.body import ContentKind
    from aepo.tools.pages.extract import extract
    from aepo.tools.pages.fetch import named

    async def run_browse(url: str, page: int = 1, part: int = 1) -> str:
        """Open a web page or a PDF, read its text, and see where its links lead.

        Args:
            url: The address, beginning with http:// or https://.
            page: Which part of a long text, or which page of a PDF; 1 is the beginning.
            part: Which part of a long page of a PDF.
        """
        if page < 1 or part < 1:
            raise ToolError("page and part count from 1")
        document = await web.fetch(url)
        is_pdf = document.kind is ContentKind.PDF
        with named(document.url):
            if part > 1 and not is_pdf:
                raise ToolError("only pages of a PDF have parts; page counts the parts of this text")
            found = await extract(document, box, page, part if is_pdf else page, max_characters, links)
            return told_of_pdf(found, page, part) if is_pdf else told(found, page)

    return run_browse


def _sandbox(asked: Sandbox | str | None) -> Sandbox:
    if asked is not None and not isinstance(asked, str):
        return asked
    at_a_service = asked is not None and asked.startswith(("http://", "https://"))
    return choose(asked, None if at_a_service else HOST)


def _web(guard: Guard, dial: Dial | None, timeout: float, max_bytes: int, rendered: bool) -> Fetcher | Renderer:
    from aepo.tools.pages import connect
    from aepo.tools.pages.fetch import Fetcher

    fetcher = Fetcher(guard, connect.GuardedBackend(guard, dial or connect.dial), connect.trust(), timeout, max_bytes)
    if not rendered:
        return fetcher
    try:
        from aepo.tools.pages.rendered import Renderer
    except ImportError as error:
        raise ImportError("browse(rendered=True) needs the extra: pip install 'aepo-rl[browser]'") from error
    return Renderer(fetcher)


def told(found: Extract, page: int) -> str:
    """Write part `page` of a text and its links, with a line that says how to read on.

    Raises:
        ToolError: There is no such part, or no text.
    """
    if not found.parts:
        raise ToolError("there is no text on this page")
    if page > found.parts:
        raise ToolError(f"there is no part {page}, the last one is {found.parts}")
    blocks = [found.text] * bool(found.text) + [f"Links:\n{found.links}"] * bool(found.links)
    said = "\n\n".join(blocks)
    return said if page == found.parts else f"{said}\n[part {page} of {found.parts}; page={page + 1} reads on]"


def told_of_pdf(found: Extract, page: int, part: int) -> str:
    """Write the text of one or more pages of a PDF, with a line that names the pages and says how to read on.

    Raises:
        ToolError: There is no such page, no such part of it, or no text.
    """
    if page > found.pages:
        raise ToolError(f"there is no page {page}, the last one is {found.pages}")
    if part > max(1, found.parts):
        raise ToolError(f"there is no part {part} of page {page}, the last one is {found.parts}")
    where = f"page {page}" if found.last == page else f"pages {page} to {found.last}"
    where, on = f"{where} of {found.pages}", ""
    if found.parts > 1:
        where += f", part {part} of {found.parts}"
    if part < found.parts:
        on = f"; page={page}, part={part + 1} reads on"
    elif found.last < found.pages:
        on = f"; page={found.last + 1} reads on"
    if not found.parts:
        raise ToolError(f"there is no text on {where}, only pictures{on}")
    return f"{found.text}\n[{where}{on}]"
