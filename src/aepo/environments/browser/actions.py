"""What can be done on a page. Each function acts on a tab; what the page then shows is for `Tab.after` to tell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.async_api import ElementHandle, Error

from aepo.environments.browser.tab import Tab, line_of
from aepo.tools.pages.guard import shorten
from aepo.types import ToolError

_SCROLL = """down => {
  const aepo = window.__aepo, from = scrollY, begun = aepo.start;
  if (down && aepo.next) {
    aepo.start = aepo.next;
    const { node } = aepo.start;
    (node.nodeType === Node.TEXT_NODE ? node.parentElement : node).scrollIntoView();
    return true;
  }
  scrollBy(0, down ? innerHeight : -innerHeight);
  if (!down || scrollY !== from) aepo.start = null;
  return scrollY !== from || aepo.start !== begun;
}"""


async def goto(tab: Tab, address: str) -> None:
    """Go to an address, which may be relative to the page's.

    Raises:
        Refused: It may not be visited.
        ToolError: It cannot be loaded.
    """
    guard = tab.settings.sites.guard
    base = guard.url(tab.page.url) if tab.page.url.startswith("http") else None
    url = guard.url(address, base)
    tab.settings.sites.check(url.host)
    with _loaded(tab, shorten(str(url))):
        await tab.page.goto(str(url), wait_until="commit", timeout=tab.settings.seconds * 1000)


async def click(tab: Tab, number: int) -> None:
    """Click an element."""
    element = await element_of(tab, number)
    if not await element.is_enabled():
        raise ToolError(f"element {number} is disabled")
    await element.click(force=True, timeout=tab.settings.seconds * 1000)


async def fill(tab: Tab, number: int, text: str) -> None:
    """Write into a field; a line break at the end is the key Enter."""
    element = await element_of(tab, number)
    try:
        if not await element.is_editable():
            raise ToolError(f"element {number} cannot be changed")
        await element.fill(text.removesuffix("\n"), force=True)
    except Error as error:
        if tab.lost(error):
            raise
        raise ToolError(f"element {number} does not take this text") from error
    if text.endswith("\n"):
        await element.press("Enter")


async def select(tab: Tab, number: int, option: str) -> None:
    """Choose an option of a list."""
    element = await element_of(tab, number)
    labels = await element.evaluate("e => e.options && [...e.options].map(o => o.label.replace(/\\s+/g, ' ').trim())")
    if labels is None:
        raise ToolError(f"element {number} is no list to select from")
    if option not in labels:
        raise ToolError(f"element {number} has no option {shorten(option, 60)!r}: {shorten(', '.join(labels), 400)}")
    chosen = await element.evaluate("e => e.multiple ? [...e.selectedOptions].map(o => o.index) : []")
    await element.select_option(index=[*chosen, labels.index(option)], force=True)


async def back(tab: Tab) -> None:
    """Go back to the page before."""
    session = await tab.context.new_cdp_session(tab.page)
    history = await session.send("Page.getNavigationHistory")
    await session.detach()
    before = history["entries"][: history["currentIndex"]]
    if not any(entry["url"].startswith("http") for entry in before):
        raise ToolError("there is no page before this one")
    with _loaded(tab, "the page before"):
        await tab.page.go_back(wait_until="commit", timeout=tab.settings.seconds * 1000)


async def scroll(tab: Tab, down: bool) -> None:
    """Scroll the window by its height, or down to where the text was cut."""
    moved = await tab.page.evaluate(_SCROLL, down)
    if not moved:
        raise ToolError(f"the page is at its {'end' if down else 'beginning'}")


async def element_of(tab: Tab, number: int) -> ElementHandle:
    """The element with a number of the last look.

    Raises:
        ToolError: There is none.
    """
    found = await tab.page.evaluate_handle("n => window.__aepo.elements[n - 1] ?? null", number)
    element = found.as_element()
    if element is None:
        raise ToolError(f"there is no element {number}")
    return element


@contextmanager
def _loaded(tab: Tab, what: str) -> Iterator[None]:
    try:
        yield
    except Error as error:
        if tab.lost(error):
            raise
        # An answer of such a status without a page; the look shows it.
        if "ERR_HTTP_RESPONSE_CODE_FAILURE" in error.message:
            return
        raise ToolError(f"{what} is not loaded: {line_of(error)}") from error
