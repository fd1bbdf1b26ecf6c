"""Asks a judge model on any server with /v1/chat/completions."""

from __future__ import annotations

from typing import Any

from aepo.engines.openai.client import Client, Endpoint, ServerCall, ServerError, ServerRefusal
from aepo.engines.openai.probe import chosen, models
from aepo.process import event_loop


class ChatModel:
    """A chat model.

    Attributes:
        endpoint: The server.
        model: The server's name of the model.
    """

    def __init__(self, endpoint: Endpoint, model: str) -> None:
        """Send nothing; use `find`, which asks the server first."""
        self.endpoint, self.model = endpoint, model
        self._settings: dict[str, Any] = {"temperature": 0}

    async def ask(self, prompt: str) -> str:
        """The model's answer; empty if it has no text.

        Raises:
            ServerError: The server does not answer, or not in the expected form.
            ServerRefusal: The server refuses the request.
        """
        messages = [{"role": "user", "content": prompt}]
        # A client belongs to one event loop, so each call makes its own.
        async with Client(self.endpoint, concurrency=1) as client:
            try:
                data = await client.ask(self._call(messages))
            except ServerRefusal as refusal:
                # Some reasoning models allow only their own temperature.
                if "temperature" not in str(refusal) or not self._settings:
                    raise
                self._settings = {}
                data = await client.ask(self._call(messages))
        try:
            content = data["choices"][0]["message"].get("content")
        except (KeyError, IndexError, TypeError, AttributeError):
            raise ServerError(f"server {self.endpoint.url} sent no chat completion") from None
        return content if isinstance(content, str) else ""

    def _call(self, messages: list[dict[str, str]]) -> ServerCall:
        return ServerCall("/v1/chat/completions", {"model": self.model, "messages": messages, **self._settings})


def find(endpoint: Endpoint, name: str | None, setting: str) -> ChatModel:
    """Find a chat model on a server.

    Args:
        endpoint: The server.
        name: The model's name, which the server need not list; None if there is only one.
        setting: The setting that names a model, for the message.

    Raises:
        ValueError: There are several models and no name, or the server refuses the key.
        ServerError: The server does not answer.
    """
    return event_loop.run(found, endpoint, name, setting)


async def found(endpoint: Endpoint, name: str | None, setting: str) -> ChatModel:
    """Find a chat model from inside the event loop; as `find`."""
    async with Client(endpoint, concurrency=1) as client:
        try:
            listed = await models(client)
        except ServerRefusal as refusal:
            if name is None or refusal.status not in (404, 405):
                raise
            return ChatModel(endpoint, name)
    return ChatModel(endpoint, name or str(chosen(endpoint.url, listed, None, setting)["id"]))
