"""Checks the services that tools use: which keys are set, and whether addresses answer. No key's value is shown."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from aepo.doctor.finding import Finding

SECONDS = 2.0


def keys() -> list[Finding]:
    """List the search services that have a key in the environment, and those that do not."""
    from aepo.tools.search.web import KEYS

    there = [name for name in KEYS if os.environ.get(name, "").strip()]
    lacking = [name for name in KEYS if name not in there]
    found = [Finding("keys", "set", ", ".join(there) or "none")]
    return found + ([Finding("keys", "not set", ", ".join(lacking))] if lacking else [])


def addresses(urls: Sequence[str], seconds: float = SECONDS) -> list[Finding]:
    """Check that each address answers; any HTTP reply is an answer. Each gets one request, without a key.

    Args:
        urls: Addresses that begin with http or https.
        seconds: Time limit for each address.
    """
    import httpx

    found = []
    for url in urls:
        try:
            with httpx.Client(timeout=seconds, follow_redirects=False) as client:
                status = client.get(url).status_code
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            why = "no answer in time" if isinstance(error, httpx.TimeoutException) else type(error).__name__
            fix = "start the service, or correct the address"
            found.append(Finding("services", _shown(url), f"unreachable ({why})", "missing", fix))
        else:
            found.append(Finding("services", _shown(url), f"answers (HTTP {status})"))
    return found


def named_in(settings: Mapping[str, Any]) -> list[str]:
    """Find every http(s) address in a configuration; each is returned once."""
    return list(dict.fromkeys(text for text in _texts(settings) if text.startswith(("http://", "https://"))))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inside in value.values():
            yield from _texts(inside)
    elif isinstance(value, Iterable):
        for inside in value:
            yield from _texts(inside)


def _shown(url: str) -> str:
    """Remove what may be a secret from an address: user, password and query."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that cannot be read"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path.rstrip('/')}"
