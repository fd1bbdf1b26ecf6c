"""Checks the addresses of services. Addresses in a service's replies are not followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    import httpx


def service_address(url: str) -> SplitResult:
    """Split the address of a service.

    Raises:
        ValueError: It is no valid http or https address.
    """
    import httpx

    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        # httpx parses the host's name in another way, which some names do not pass.
        httpx.Request("GET", url)
    except (httpx.InvalidURL, ValueError):
        usable = False
    if not usable:
        # The library's message may contain a part of a password.
        raise ValueError("not one that begins with http:// or https:// and names a host")
    return parts


async def _forget(reply: httpx.Response) -> None:
    reply.headers.pop("location", None)


NO_REDIRECTS: dict[str, list[Any]] = {"response": [_forget]}
"""`event_hooks` of an httpx client that follows no redirect, because httpx parses its target and may fail."""
