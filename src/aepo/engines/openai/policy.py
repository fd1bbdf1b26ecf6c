"""A policy on a server. It can be sampled from and evaluated, but not trained."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aepo.engines.openai.client import Client, Endpoint
from aepo.engines.openai.generator import ServerGenerator
from aepo.engines.openai.probe import Served, chosen, models, probe
from aepo.engines.stopping import ends_of
from aepo.process import event_loop
from aepo.rollout.generator import NOTHING, GeneratorSettings, Stop

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_log = logging.getLogger(__name__)


class ServerPolicy:
    """A model on a server, with all that evaluation needs.

    Attributes:
        endpoint: The server.
        served: The model and what the server supports.
        tokenizer: The model's tokenizer.
        ends: The ends of a turn that the model's files declare.
        instruction: Empty, because a server does not tell what its model was trained under.
    """

    instruction = ""

    def __init__(
        self,
        endpoint: Endpoint,
        served: Served,
        tokenizer: PreTrainedTokenizerBase,
        ends: Stop = NOTHING,
    ) -> None:
        """Use `connect`, which asks the server."""
        self.endpoint, self.served, self.tokenizer, self.ends = endpoint, served, tokenizer, ends

    @property
    def path(self) -> str:
        """Model and server, "MODEL@http://..."."""
        return f"{self.served.model}@{self.endpoint.url}"

    @property
    def sampler(self) -> ServerPolicy:
        """The policy itself."""
        return self

    def generator(self, settings: GeneratorSettings) -> ServerGenerator:
        """Make an engine over the server; see `ServerGenerator`.

        Raises:
            ValueError: The server does not support these settings.
        """
        engine = ServerGenerator(self.endpoint, lambda: self.served, self.tokenizer, settings)
        if engine.entropy_estimator == "none" and not settings.greedy:
            _log.warning("%s: no log-probabilities and entropies are recorded, %s", self.path, self._why())
        return engine

    def _why(self) -> str:
        if self.served.top is None:
            return "the server gives none"
        how = self.served.dialect.tempered
        return f"the server tells of those at temperature 1; start it {how}"

    def decode(self, tokens: list[int]) -> str:
        """Turn ids into text, special tokens included."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=False))


def connect(endpoint: Endpoint, name: str | None = None, tokenizer: str | None = None) -> ServerPolicy:
    """Ask a server for its kind and its model.

    Args:
        endpoint: The server.
        name: The model's name; None if there is only one.
        tokenizer: Folder or hub name of the model's tokenizer; by default the server's name of the model.

    Raises:
        ValueError: The server is not supported, or the tokenizer cannot be loaded.
        ServerError: The server does not answer.
    """

    async def ask() -> ServerPolicy:
        async with Client(endpoint, concurrency=1) as client:
            model = chosen(endpoint.url, await models(client), name, "model.name")
            words = tokenizer or model["id"]
            loaded = load_tokenizer(words)
            return ServerPolicy(endpoint, await probe(client, model, loaded), loaded, ends_of(words))

    return event_loop.run(ask)


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Load a tokenizer from a folder or from the hub.

    Raises:
        ValueError: It cannot be loaded.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"tokenizer {name}: {line}; name the folder or hub name of the model's tokenizer by model.tokenizer"
        ) from error
