"""Addresses of services: a user's own is checked where it is given, and one that a service sends is read by nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    import httpx


def service_address(url: str) -> SplitResult:
    """Take the address of a service apart.

    Raises:
        ValueError: It is none of http or https to which a request can be written.
    """
    import httpx

    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        # A request reads the host's name in a second way, which some names do not bear.
        httpx.Request("GET", url)
    except (httpx.InvalidURL, ValueError):
        usable = False
    if not usable:
        # What libraries say of it may hold a part of a password.
        raise ValueError("not one that begins with http:// or https:// and names a host")
    return parts


async def _forget(reply: httpx.Response) -> None:
    reply.headers.pop("location", None)


NO_REDIRECTS: dict[str, list[Any]] = {"response": [_forget]}
"""For `event_hooks` of an httpx client that follows no redirect: httpx would read where it leads, and may fail."""
