"""Sequences that grow on an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from aepo.core.noise import noise_key
from aepo.engines.openai import entropies
from aepo.engines.openai.client import Client, Endpoint
from aepo.engines.openai.dialect import Wanted
from aepo.engines.openai.drawn import drawn
from aepo.engines.openai.probe import Served
from aepo.engines.remote import RemoteGenerator, RemoteSequence
from aepo.engines.stopping import stoppings
from aepo.rollout.generator import USUAL, GeneratorSettings, Sampled, Stop, TooLong

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SEED_BITS = (1 << 31) - 1


class ServerGenerator(RemoteGenerator):
    """Grows sequences on an OpenAI-compatible server (the `Generator` protocol).

    The seed of each request is made of the sequence's noise key and its length. If the server follows seeds and turns
    are requested in the same parts, the same key gives the same tokens.

    Entropies are lower bounds from the likeliest tokens ("topk"), or -ln p of the sampled token if the server gives no
    others ("sampled"). If the server gives no log-probabilities at this temperature, there are neither ("none").

    If the weights change while a request is under way, its reply is dropped and drawn again.

    Args:
        endpoint: The server.
        now: The model as it is served now; only its name and its version may change.
        tokenizer: The model's tokenizer.
        settings: How it samples; `max_sequences` also limits the requests at once.

    Raises:
        ValueError: The server does not support these settings.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        now: Callable[[], Served],
        tokenizer: PreTrainedTokenizerBase,
        settings: GeneratorSettings = USUAL,
    ) -> None:
        if settings.deterministic:
            raise ValueError(
                "rollout.deterministic cannot be promised for a server, which batches as it likes: set it to false"
            )
        served, temperature, max_length = now(), settings.temperature, settings.max_length
        if served.context is not None and max_length > served.context:
            raise TooLong(
                f"a trajectory may have {max_length} tokens, but server {endpoint.url} holds {served.context}: "
                "lower rollout.max_tokens, or start it with a longer context"
            )
        super().__init__(stoppings(tokenizer), settings.max_sequences, max_length)
        self.endpoint, self.tokenizer, self.settings, self._now = endpoint, tokenizer, settings, now
        self.top = served.top if served.exact_at(temperature, settings.greedy) else None
        self.entropy_estimator: str = "none" if self.top is None else "topk" if self.top else "sampled"
        if settings.reference_entropy and (self.top or 0) < entropies.REFERENCE_CANDIDATES:
            raise ValueError(
                f"entropy_scale: reference needs the ten likeliest tokens at temperature {temperature:g}, and server "
                f"{endpoint.url} does not tell of them: choose another entropy_scale, or start the server "
                f"{served.dialect.tempered}"
            )
        self._client: Client | None = None

    async def __aenter__(self) -> Self:
        if self._client is not None:
            raise RuntimeError("the generator is already entered: one rollout at a time")
        self._client = await Client(self.endpoint, self.max_sequences).__aenter__()
        return await super().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, trace)
        client, self._client = self._client, None
        assert client is not None
        await client.__aexit__(kind, error, trace)

    async def _draw(self, sequence: RemoteSequence, count: int, stop: Stop) -> Sampled:
        """Sample with one request.

        Raises:
            RuntimeError: The engine is not entered.
            ServerError: The server does not answer, or not with tokens.
            ServerRefusal: The server refuses the request.
        """
        if self._client is None:
            raise RuntimeError('the generator is not running: use it inside "async with generator:"')
        within = self.settings.entropies_within
        top = self.top if within is None or count <= within or not self.top else 0
        while True:
            served = self._now()
            wanted = self._wanted(served, sequence, count, stop, top)
            reply = await drawn(self._client, served.dialect, wanted)
            now = self._now()
            if now.version == served.version or now.model != served.model:
                break
            # After a hand-over no request may be sent before the engine is resumed.
            await self._going.wait()
        bounds = entropies.lower_bounds(reply.top, top) if top else [-value for value in reply.logprobs]
        reference = entropies.reference(reply.top) if self.settings.reference_entropy else []
        return Sampled(reply.tokens, reply.logprobs, bounds, False, reference, served.version)

    def _wanted(self, served: Served, sequence: RemoteSequence, count: int, stop: Stop, top: int | None) -> Wanted:
        piece = served.dialect.piece
        return Wanted(
            model=served.model,
            prompt=sequence.tokens,
            max_tokens=count if piece is None or self.top is None else min(count, piece),
            temperature=self.settings.temperature,
            greedy=self.settings.greedy,
            seed=noise_key(sequence.noise, sequence.length) & _SEED_BITS,
            stop=stop,
            top=top,
        )
