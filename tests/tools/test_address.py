"""A service's address, and where a service redirects to: nothing of it ends a run."""

import anyio
import pytest

from aepo.engines.openai.client import Client, Endpoint, ServerCall, ServerRefusal
from aepo.tools.address import service_address
from aepo.tools.base import ToolMisconfigured
from aepo.tools.sandbox.base import SandboxStatus
from aepo.tools.sandbox.remote import RemoteSandbox
from aepo.tools.search.retrieval import Retrieval
from tests.tools.loopback import answer, loopback

WRONG = [
    "http://xn--ls8h.test/",
    "http://[::1",
    "http://a:x/",
    "http://a:0/",
    "http:///x",
    "ftp://a/",
    "a.test",
    "",
    "http://\u2603/",
]
LEADS = [
    "http://xn--ls8h.test/",
    "http://xn--/",
    "http://[",
    "//",
    "\udcff",
    "javascript:x",
    "http://a:99999999/",
    "http://\u2603/",
]


@pytest.mark.parametrize("url", WRONG)
def test_an_address_to_which_no_request_can_be_written_is_an_error_at_once(url: str) -> None:
    for take in (service_address, Retrieval, RemoteSandbox, Endpoint):
        with pytest.raises(ValueError, match="http"):
            take(url)


@pytest.mark.parametrize(
    "url", ["http://localhost:8000/v1", "https://[::1]:9/x", "http://xn--mnchen-3ya.test", "http://m\u00fcnchen.test"]
)
def test_an_address_that_can_be_asked_is_taken(url: str) -> None:
    assert service_address(url).hostname


@pytest.mark.parametrize("location", LEADS)
def test_where_a_service_redirects_to_is_not_read(location: str) -> None:
    moved = answer(b"", 302, {"Location": location.encode("utf-8", "surrogateescape").decode("latin-1")})

    async def ask() -> None:
        async with loopback(moved) as server:
            with pytest.raises(ToolMisconfigured, match="has moved"):
                await Retrieval(server.url).search("who", 3)
            ran = await RemoteSandbox(server.url).run("1", 5)
            assert ran.status is SandboxStatus.INFRASTRUCTURE_ERROR and "HTTP 302" in ran.stderr
            async with Client(Endpoint(server.url)) as client:
                with pytest.raises(ServerRefusal, match="HTTP 302"):
                    await client.ask(ServerCall("/x"))

    anyio.run(ask)
