"""Security headers of the page. It shows texts of models and of the web, so a browser may only display it.

Scripts and styles come from this package only: by address from the server, by hash in the single file. Strings never
become markup or code (trusted types). Nothing is loaded from or sent to other hosts: pictures are part of the data.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import socket
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:"
LOCKED = f"{NOTHING}; require-trusted-types-for 'script'; trusted-types"
SERVED = f"{LOCKED} 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'"
HEADERS = {
    "content-security-policy": SERVED,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def for_file(scripts: Sequence[str], styles: Sequence[str]) -> str:
    """The policy of a file that contains exactly these scripts and styles."""
    allowed = [" ".join(f"'sha256-{_digest(text)}'" for text in texts) for texts in (scripts, styles)]
    return f"{LOCKED} 'none'; script-src {allowed[0]}; style-src {allowed[1]}"


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


class HostGuard:
    """Sends `HEADERS` with every response, and answers only requests whose Host header names this machine.

    A web page whose name was made to point here (DNS rebinding) still sends that name. A numeric address cannot be made
    to point elsewhere, so on interfaces other than loopback every numeric address is accepted.

    Args:
        app: The application that answers.
        host: The address that the server listens on.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self.app = app
        self.only_loopback = host in LOOPBACK
        self.names = {"localhost"} if self.only_loopback else {"localhost", host.lower(), socket.gethostname().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if self.knows(Headers(scope=scope).get("host", "")):
            await self.app(scope, receive, sent)
        else:
            refusal = PlainTextResponse("This is not the name of this server; see --host.\n", status_code=421)
            await refusal(scope, receive, sent)

    def knows(self, asked: str) -> bool:
        """Whether a Host header names this server."""
        name = asked.rsplit(":", 1)[0] if not asked.endswith("]") else asked
        name = name.removeprefix("[").removesuffix("]").lower()
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self.names
        return address.is_loopback or not self.only_loopback
