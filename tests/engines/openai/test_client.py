"""What a server does wrong: tried again where that is safe, else one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from aepo.engines.openai.client import Client, Endpoint, ServerCall, ServerError, ServerRefusal
from aepo.engines.openai.policy import ServerPolicy, connect
from aepo.rollout.generator import GeneratorSettings, Stop
from aepo.tools.key import ApiKey
from tests.engines.openai.conftest import Serve
from tests.engines.openai.server import Fault, ModelServer, failing, reset, say

Link = Callable[[ModelServer], ServerPolicy]
ASK = ServerCall("/v1/completions", {})


async def ask(policy: ServerPolicy, count: int = 2) -> list[int]:
    async with policy.generator(GeneratorSettings(temperature=1.0, max_sequences=4, max_length=100)) as engine:
        return (await engine.sample(engine.open([4], 1), count, Stop())).tokens


def cut(handler: Any) -> None:
    """Half an answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


def nothing(handler: Any) -> None:
    """Hang up politely."""
    handler.close_connection = True


@pytest.mark.parametrize(
    ("faults", "waited"),
    [
        ([reset], 1),
        ([nothing, cut, reset], 3),
        ([failing(503), failing(502), failing(504)], 3),
        ([failing(429, {"error": "slow down"}, Retry_After="7")], 1),
    ],
    ids=["reset", "no-reply", "gateway", "too-many"],
)
def test_what_may_pass_is_tried_again(
    faults: list[Fault], waited: int, serve: Serve, link: Link, waits: list[float]
) -> None:
    server = serve()
    policy = link(server)
    expected = anyio.run(ask, policy)
    server.faults.extend(faults)
    assert anyio.run(ask, policy) == expected
    assert len(waits) == waited and not server.faults
    if waited == 1 and faults[0] is not reset:
        assert waits == [7.0]
    else:
        assert all(0.25 * 2**i <= wait <= 0.5 * 2**i for i, wait in enumerate(waits))


def said(tokens: list[Any], logprobs: list[Any], top: list[Any]) -> Fault:
    """A completion as vLLM writes it, with this in it."""
    told = {"token_logprobs": logprobs, "top_logprobs": top}
    return failing(200, {"choices": [{"token_ids": tokens, "logprobs": told}]})


@pytest.mark.parametrize(
    ("fault", "kind", "line"),
    [
        (failing(500, {"error": {"message": "EngineDeadError"}}), ServerError, r"failed \(HTTP 500\): EngineDeadError"),
        (failing(400, {"message": "top_k\nis wrong"}), ServerRefusal, r"take the request \(HTTP 400\): top_k is wrong"),
        (failing(400, b"<html>"), ServerRefusal, r"take the request \(HTTP 400\)$"),
        (failing(401, {"error": "who?"}), ServerRefusal, r"refuses the key \(HTTP 401\): it wants a key"),
        (failing(404, b""), ServerRefusal, r"has no /v1/completions: is this an OpenAI-compatible server"),
        (failing(301, b"", Location="http://elsewhere/"), ServerRefusal, r"HTTP 301"),
        (failing(200, b"<html>it works</html>"), ServerError, "something else than JSON"),
        (failing(200, b"\xff\xfe"), ServerError, "something else than JSON"),
        (failing(200, b"[" * 100_000), ServerError, "something else than JSON"),
        (failing(200, []), ServerError, "sent what vLLM would not: not a completion"),
        (failing(200, {"choices": [{"text": "hello"}]}), ServerError, "no token ids"),
        (said(["1"], [-1], [{}]), ServerError, "no token ids"),
        (failing(200, {"choices": [{"token_ids": [1, 2], "logprobs": None}]}), ServerError, "not a completion"),
        (said([1], [None], [{}]), ServerError, "no log-probability where one was asked for"),
        (said([1, 2], [-1], [{}]), ServerError, "1 log-probabilities for 2 tokens"),
        (said([1], [-1], [{" the": -1}]), ServerError, "not named by token id"),
        (said([], [], []), ServerError, "no token$"),
        (failing(429, {}, Retry_After="3600"), ServerError, "HTTP 429; wants to be left alone for 3600 s"),
    ],
    ids=[
        "500",
        "400",
        "400-html",
        "401",
        "404",
        "moved",
        "html",
        "bytes",
        "deep",
        "list",
        "text-only",
        "odd-ids",
        "no-logprobs",
        "null-logprob",
        "few-logprobs",
        "named-by-text",
        "no-token",
        "long-wait",
    ],
)
def test_what_does_not_pass_is_one_line_at_once(
    fault: Fault, kind: type[Exception], line: str, serve: Serve, link: Link, waits: list[float]
) -> None:
    server = serve()
    policy = link(server)
    server.faults.append(fault)
    with pytest.raises(kind, match=line) as caught:
        anyio.run(ask, policy)
    assert server.url in str(caught.value) and "\n" not in str(caught.value)
    assert waits == []


def test_a_server_that_stays_away_is_given_up(serve: Serve, link: Link, waits: list[float]) -> None:
    server = serve()
    policy = link(server)
    server.faults.extend([failing(503)] * 6)
    with pytest.raises(ServerError, match="is not available: HTTP 503; 6 tries"):
        anyio.run(ask, policy)
    assert len(waits) == 5


def test_nobody_listening_is_one_line(waits: list[float], model_folder: Any) -> None:
    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    with pytest.raises(ServerError, match=r"server http://127.0.0.1:9/v1 is not available: ConnectError .*; 6 tries"):
        connect(Endpoint("http://127.0.0.1:9/v1", sleep=sleep), None, str(model_folder))
    assert len(waits) == 5


def test_a_server_that_never_answers_is_one_line(serve: Serve) -> None:
    server = serve()
    server.faults.append(lambda handler: handler.connection.recv(1))

    async def main() -> None:
        async with Client(Endpoint(server.url, timeout=0.05)) as client:
            await client.ask(ASK)

    with pytest.raises(ServerError, match=r"no reply within 0 s; raise model.timeout"):
        anyio.run(main)


def test_a_cancelled_request_is_hung_up_and_the_sequence_stays_usable(serve: Serve, link: Link) -> None:
    server = serve()
    policy = link(server)
    gone: list[bytes] = []

    async def main() -> None:
        def hold(handler: Any) -> None:
            gone.append(handler.connection.recv(1))  # empty once the other side has closed
            handler.close_connection = True

        server.faults.append(hold)
        async with policy.generator(GeneratorSettings(temperature=1.0, max_sequences=4, max_length=100)) as engine:
            sequence = engine.open([4], 1)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(engine.sample, sequence, 5, Stop())
                while server.faults:
                    await anyio.sleep(0.001)
                tasks.cancel_scope.cancel()
            assert sequence.length == 1
            assert len((await engine.sample(sequence, 5, Stop())).tokens) == 5
        while not gone:
            await anyio.sleep(0.001)

    anyio.run(main)
    assert gone == [b""]


def test_the_key_is_sent_and_shown_nowhere(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, model_folder: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()
    monkeypatch.setenv("AEPO_MODEL_KEY", "sk-secret")
    endpoint = Endpoint(server.url, ApiKey("AEPO_MODEL_KEY"))
    policy = connect(endpoint, None, str(model_folder))
    anyio.run(ask, policy)
    assert all(headers["authorization"] == "Bearer sk-secret" for _, _, headers in server.asked)
    server.faults.append(lambda handler: say(handler, 401, {"error": "sk-secret is no key"}))
    with pytest.raises(ServerRefusal, match="check AEPO_MODEL_KEY") as refused:
        anyio.run(ask, policy)
    server.faults.append(lambda handler: say(handler, 400, {"error": "odd: Bearer sk-secret"}))
    with pytest.raises(ServerRefusal, match=r"odd: Bearer \[key\]") as odd:
        anyio.run(ask, policy)
    shown = f"{endpoint} {policy.path} {refused.value} {odd.value} {caplog.text}"
    assert "secret" not in shown


@pytest.mark.parametrize(
    "url", ["http://", "ftp://host/v1", "http://key@host/v1", "http://host/v1?key=x", "http://[::1", "host:8000"]
)
def test_a_wrong_address_is_told_without_showing_it(url: str) -> None:
    with pytest.raises(ValueError, match=r"a server's address is http://host:port/v1, without a key") as caught:
        Endpoint(url)
    assert "key@" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/"])
def test_the_address_may_end_in_v1(url: str) -> None:
    assert Endpoint(url).root == "http://h:1"
    assert Endpoint("https://h/proxy/v1").root == "https://h/proxy"
