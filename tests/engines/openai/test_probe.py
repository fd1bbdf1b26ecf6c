"""What a server is, is found out by asking; what it lacks is told before anything depends on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aepo.engines.openai.client import Endpoint, ServerError, ServerRefusal
from aepo.engines.openai.policy import ServerPolicy, connect
from aepo.engines.openai.probe import follows_temperature
from tests.engines.openai.conftest import Serve
from tests.engines.openai.server import ModelServer, failing

Link = Callable[[ModelServer], ServerPolicy]


@pytest.mark.parametrize(("kind", "name"), [("vllm", "vLLM"), ("sglang", "SGLang"), ("llamacpp", "llama.cpp")])
def test_the_dialect_the_context_and_the_temperature_are_found(kind: str, name: str, serve: Serve, link: Link) -> None:
    served = link(serve(kind)).served
    assert (served.model, served.dialect.name, served.context) == ("tiny", name, 512)
    assert (served.top, served.tempered) == (20, True)


@pytest.mark.parametrize(("kind", "name"), [("vllm", "vLLM"), ("sglang", "SGLang"), ("llamacpp", "llama.cpp")])
def test_a_server_that_does_not_say_what_it_is_shows_it(kind: str, name: str, serve: Serve, link: Link) -> None:
    """A gateway in front of it names another owner."""
    server = serve(kind)
    plain = server.answer

    def behind_a_gateway(path: str, body: Any) -> tuple[int, Any]:
        status, data = plain(path, body)
        for entry in data.get("data", []) if path == "/v1/models" else []:
            entry["owned_by"] = "gateway"
        return status, data

    server.answer = behind_a_gateway  # type: ignore[method-assign]
    assert link(server).served.dialect.name == name


@pytest.mark.parametrize(("most", "top"), [(20, 20), (19, 5), (1, 1), (0, 0), (None, None)])
def test_the_most_that_a_server_tells_is_taken(most: int | None, top: int | None, serve: Serve, link: Link) -> None:
    served = link(serve(most=most)).served
    assert served.top == top
    if top != 1:  # the sampled token may be another one, and then two are known
        assert served.tempered is bool(top)


def test_a_server_of_texts_is_refused(serve: Serve, link: Link) -> None:
    with pytest.raises(ServerRefusal, match=r"takes and gives no token ids as vLLM .* llama.cpp do \(vLLM: no"):
        link(serve("text"))


def test_a_server_of_several_models_is_told_which(serve: Serve, model_folder: Any) -> None:
    server = serve(others=("large",))
    with pytest.raises(ValueError, match=r"serves tiny, large: choose one by model\.name"):
        connect(Endpoint(server.url), None, str(model_folder))
    assert connect(Endpoint(server.url), "large", str(model_folder)).path == f"large@{server.url}"
    with pytest.raises(ValueError, match="does not serve 'small' but tiny, large"):
        connect(Endpoint(server.url), "small", str(model_folder))


def test_the_tokenizer_is_the_models_own_by_default(serve: Serve, model_folder: Any) -> None:
    server = serve(name=str(model_folder))
    assert connect(Endpoint(server.url)).tokenizer.eos_token_id == 1
    with pytest.raises(ValueError, match=r"tokenizer tiny: .*name the folder or hub name .* by model\.tok"):
        connect(Endpoint(serve().url))


def test_another_tokenizer_than_the_servers_is_refused(serve: Serve, link: Link) -> None:
    server = serve()
    plain = server.tokenizer

    class Shifted:
        def __getattr__(self, name: str) -> Any:
            return getattr(plain, name)

        def __len__(self) -> int:
            return len(plain)

        def encode(self, text: str, **settings: Any) -> list[int]:
            return [i + 1 for i in plain.encode(text, **settings)]

    server.tokenizer = Shifted()
    with pytest.raises(ServerRefusal, match=r"writes 'The capital of France is' as .* own by model\.tokenizer"):
        link(server)


def test_a_server_that_does_not_tokenize_is_trusted_and_that_is_said(
    serve: Serve, link: Link, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()
    plain = server.answer
    server.answer = lambda path, body: (404, {}) if path == "/tokenize" else plain(path, body)  # type: ignore[method-assign]
    assert link(server).served.top == 20
    assert "does not tokenize: its tokenizer is not compared with ours" in caplog.text


def test_a_server_that_fails_while_it_is_asked_is_one_line(serve: Serve, link: Link) -> None:
    server = serve()
    server.faults.append(failing(500, {"error": {"message": "out of memory"}}))
    with pytest.raises(ServerError, match=r"failed \(HTTP 500\): out of memory"):
        link(server)


@given(
    st.lists(st.floats(-9, 0), min_size=3, max_size=20, unique=True),
    st.floats(0.2, 0.8) | st.floats(1.25, 3),
    st.floats(-1e-3, 1e-3),
)
def test_temperature_stretches_differences_and_nothing_else_does(
    values: list[float], temperature: float, error: float
) -> None:
    spread = max(values) - min(values)
    at_one = dict(enumerate(values))
    # Rounding in the server's batch must not decide; where all tokens are alike, nothing can be told.
    if spread < 0.1:
        return
    assert not follows_temperature(at_one, {i: v + error * (i % 2) for i, v in at_one.items()}, temperature)
    warm = {i: v / temperature + 0.3 + error * (i % 2) for i, v in at_one.items()}
    assert follows_temperature(at_one, warm, temperature)


def test_of_a_single_token_nothing_can_be_told() -> None:
    assert not follows_temperature({1: -0.5}, {1: -0.2}, 0.5)
    assert not follows_temperature({1: -0.5, 2: -9999.0}, {1: -0.2, 3: -1.0}, 0.5)
