"""A judge model on a server is asked for text."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from aepo.engines.openai.chat import ChatModel, find
from aepo.engines.openai.client import Endpoint, ServerError, ServerRefusal
from tests.engines.openai.conftest import Serve
from tests.engines.openai.server import ModelServer, failing


def chatty(server: ModelServer, *replies: Any) -> ModelServer:
    """The server answers chats with these, the last again and again."""
    plain, said = server.answer, list(replies)

    def answer(path: str, body: Any) -> tuple[int, Any]:
        if path != "/v1/chat/completions":
            return plain(path, body)
        reply = said.pop(0) if len(said) > 1 else said[0]
        return reply if isinstance(reply, tuple) else (200, {"choices": [{"message": {"content": reply}}]})

    server.answer = answer  # type: ignore[method-assign]
    return server


def test_the_answer_is_the_text_of_the_first_choice(serve: Serve) -> None:
    server = chatty(serve(), "A")
    chat = find(Endpoint(server.url), None, "--judge")
    assert chat.model == "tiny" and anyio.run(chat.ask, "Is it?") == "A"
    _, body, _ = server.asked[-1]
    assert body == {"model": "tiny", "messages": [{"role": "user", "content": "Is it?"}], "temperature": 0}


def test_one_of_several_models_is_named(serve: Serve) -> None:
    server = chatty(serve(others=("large",)), "A")
    with pytest.raises(ValueError, match="serves tiny, large: choose one by --judge MODEL@"):
        find(Endpoint(server.url), None, "--judge MODEL@" + server.url)
    assert find(Endpoint(server.url), "alias", "--judge").model == "alias"


def test_a_server_without_a_list_of_models_is_believed(serve: Serve) -> None:
    server = serve()
    server.answer = lambda path, body: (404, {})  # type: ignore[method-assign]
    assert find(Endpoint(server.url), "m", "--judge").model == "m"
    with pytest.raises(ServerRefusal, match="has no /v1/models"):
        find(Endpoint(server.url), None, "--judge")
    server.answer = lambda path, body: (401, {})  # type: ignore[method-assign]
    with pytest.raises(ServerRefusal, match="it wants a key"):
        find(Endpoint(server.url), "m", "--judge")


@pytest.mark.parametrize("content", [None, 5, [{"type": "text"}]], ids=["none", "number", "parts"])
def test_an_answer_without_text_is_empty(content: Any, serve: Serve) -> None:
    server = chatty(serve(), content)
    assert anyio.run(ChatModel(Endpoint(server.url), "tiny").ask, "?") == ""


def test_a_model_that_allows_no_temperature_is_asked_without(serve: Serve) -> None:
    refusal = (400, {"error": {"message": "Unsupported value: 'temperature' does not support 0"}})
    server = chatty(serve(), refusal, "B", "C")
    chat = ChatModel(Endpoint(server.url), "tiny")
    assert [anyio.run(chat.ask, "?") for _ in range(2)] == ["B", "C"]
    assert ["temperature" in body for _, body, _ in server.asked] == [True, False, False]


def test_what_is_no_chat_completion_is_one_line(serve: Serve) -> None:
    server = chatty(serve(), (200, {"choices": []}))
    with pytest.raises(ServerError, match="sent no chat completion"):
        anyio.run(ChatModel(Endpoint(server.url), "tiny").ask, "?")
    server.faults.append(failing(400, {"message": "too long"}))
    with pytest.raises(ServerRefusal, match=r"HTTP 400\): too long"):
        anyio.run(ChatModel(Endpoint(server.url), "tiny").ask, "?")
