"""One question, one answer, as text: a judge model on any server with /v1/chat/completions."""

from __future__ import annotations

from typing import Any

from aepo import event_loop
from aepo.engines.openai.client import Call, Client, Endpoint, ServerError, ServerRefusal
from aepo.engines.openai.probe import chosen, models


class ChatModel:
    """A chat model.

    Attributes:
        endpoint: The server.
        model: As the server names it.
    """

    def __init__(self, endpoint: Endpoint, model: str) -> None:
        """Nothing is sent; `find` asks the server first."""
        self.endpoint, self.model = endpoint, model
        self._settings: dict[str, Any] = {"temperature": 0}

    async def ask(self, prompt: str) -> str:
        """What the model answers, empty if it is nothing that can be read.

        Raises:
            ServerError: The server does not answer, or not this.
            ServerRefusal: It does not take the request.
        """
        messages = [{"role": "user", "content": prompt}]
        # A client of its own: it lives no longer than the event loop of the caller.
        async with Client(self.endpoint, concurrency=1) as client:
            try:
                data = await client.ask(self._call(messages))
            except ServerRefusal as refusal:
                # Some reasoning models allow their own temperature only.
                if "temperature" not in str(refusal) or not self._settings:
                    raise
                self._settings = {}
                data = await client.ask(self._call(messages))
        try:
            content = data["choices"][0]["message"].get("content")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise ServerError(f"server {self.endpoint.url} sent no chat completion") from None
        return content if isinstance(content, str) else ""

    def _call(self, messages: list[dict[str, str]]) -> Call:
        return Call("/v1/chat/completions", {"model": self.model, "messages": messages, **self._settings})


def find(endpoint: Endpoint, name: str | None, setting: str) -> ChatModel:
    """Ask a server for its models.

    Args:
        endpoint: The server.
        name: Which model; None if there is but one. One that the server does not list may still be served.
        setting: How a user names one, for people.

    Raises:
        ValueError: None is named and there are several, or the server refuses the key.
        ServerError: The server does not answer.
    """

    async def ask() -> str:
        async with Client(endpoint, concurrency=1) as client:
            try:
                listed = await models(client)
            except ServerRefusal as refusal:
                if name is None or refusal.status not in (404, 405):
                    raise
                return name
        return name or str(chosen(endpoint.url, listed, None, setting)["id"])

    return ChatModel(endpoint, event_loop.run(ask))
