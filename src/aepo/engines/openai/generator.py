"""Sequences that grow on a server: the tokens are kept here, whatever the server has cached of them."""

from __future__ import annotations

from collections.abc import Sequence as Tokens
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

import anyio

from aepo.core.noise import noise_key
from aepo.engines.openai import entropies
from aepo.engines.openai.client import BadReply, Client, Endpoint, ServerError
from aepo.engines.openai.dialect import Reply, Wanted
from aepo.engines.openai.probe import Served
from aepo.engines.stopping import Stopping, vocabulary_texts
from aepo.rollout.generator import Sampled, Sequence, Stop

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SEED_BITS = (1 << 31) - 1


@dataclass(eq=False)
class ServerSequence:
    """A handle; only `ServerGenerator` changes it.

    Attributes:
        tokens: Given and sampled ids.
        noise: What the seeds of its requests are made of.
        starts: Where its turns begin: its lengths after it was given tokens, not empty.
        ended: Nothing will be sampled from it any more.
        closed: It holds nothing any more.
        sampling: Tokens of it are being sampled.
    """

    tokens: list[int]
    noise: int
    starts: list[int] = field(default_factory=list)
    ended: bool = False
    closed: bool = False
    sampling: bool = False

    @property
    def length(self) -> int:
        """Tokens it holds, sampled and given."""
        return len(self.tokens)


class ServerGenerator:
    """Grows sequences on an OpenAI-compatible server (the `Generator` protocol).

    A request has all tokens of its sequence, and the server finds in its prefix cache what it has read before; a fork
    copies a list of ids. Each request has a seed made of the sequence's noise key and its length: on a server that
    keeps to seeds, and where turns are asked for in the same parts, the same key gives the same tokens.

    Entropies are lower bounds from the likeliest tokens ("topk"), -ln p of the sampled one if the server tells of no
    other ("sampled"), or there are none, nor log-probabilities ("none"): if the server gives none, or none at this
    temperature.

    Args:
        endpoint: The server.
        served: What `probe` found there.
        tokenizer: That of the model.
        temperature: T > 0.
        max_sequences: How many may be open, and requests under way, at once.
        max_length: Tokens a sequence may hold.
        greedy: Take the likeliest token.
        reference_entropy: Record also -sum p ln p over the ten likeliest tokens.

    Raises:
        ValueError: The server cannot do it.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        served: Served,
        tokenizer: PreTrainedTokenizerBase,
        *,
        temperature: float = 1.0,
        max_sequences: int = 128,
        max_length: int = 1024,
        greedy: bool = False,
        reference_entropy: bool = False,
    ) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}, it must be above 0; greedy=True takes the likeliest token")
        if served.context is not None and max_length > served.context:
            raise ValueError(
                f"a trajectory may have {max_length} tokens, but server {endpoint.url} holds {served.context}: "
                "lower rollout.max_tokens, or start it with a longer context"
            )
        self.endpoint, self.served, self.tokenizer = endpoint, served, tokenizer
        self.temperature, self.greedy = temperature, greedy
        self.max_sequences, self.max_length = max_sequences, max_length
        self.top = served.top if served.exact_at(temperature, greedy) else None
        self.entropy_estimator: str = "none" if self.top is None else "topk" if self.top else "sampled"
        if reference_entropy and (self.top or 0) < entropies.REFERENCE_CANDIDATES:
            raise ValueError(
                f"entropy_scale: reference needs the ten likeliest tokens at temperature {temperature:g}, and server "
                f"{endpoint.url} does not tell of them: choose another entropy_scale, or start the server "
                f"{served.dialect.tempered}"
            )
        self.reference_entropy = reference_entropy
        self._client: Client | None = None
        self._open: set[ServerSequence] = set()
        self._texts: list[str] | None = None
        self._stoppings: dict[Stop, Stopping] = {}
        self._going = anyio.Event()

    async def __aenter__(self) -> Self:
        if self._client is not None:
            raise RuntimeError("the generator is already entered: one rollout at a time")
        self._going = anyio.Event()  # of this event loop
        self.resume()
        self._client = await Client(self.endpoint, self.max_sequences).__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        client, self._client = self._client, None
        for sequence in self._open:
            sequence.closed = sequence.ended = True
        self._open.clear()
        assert client is not None
        await client.__aexit__(kind, error, trace)

    def open(self, tokens: Tokens[int], noise: int) -> ServerSequence:
        """Begin a sequence with given tokens.

        Raises:
            ValueError: No token, or more than `max_length`.
            RuntimeError: `max_sequences` are open.
        """
        given = self._checked(tokens, 0, "the prompt")
        if not given:
            raise ValueError("a sequence cannot begin with no token: give at least one")
        return self._add(ServerSequence(given, noise, [len(given)]))

    def extend(self, sequence: Sequence, tokens: Tokens[int]) -> None:
        """Append given tokens.

        Raises:
            ValueError: It would become longer than `max_length`.
            RuntimeError: The sequence was ended or closed, or is being sampled.
        """
        own = self._own(sequence, "extended")
        own.tokens.extend(self._checked(tokens, own.length, "the sequence with what is appended"))
        own.starts.append(own.length)

    async def sample(self, sequence: Sequence, max_tokens: int, stop: Stop) -> Sampled:
        """Append sampled tokens, up to `max_tokens` and to a length of `max_length`.

        Where the server goes on behind the end of the turn, the surplus is dropped; where it stops before, for a
        reason of its own, it is asked again. Cancelling it leaves the tokens of the requests that were answered.

        Raises:
            RuntimeError: The sequence was ended or closed, or is being sampled; the engine is not entered.
            ServerError: The server does not answer, or not with tokens.
            ServerRefusal: It does not take the request.
        """
        own = self._own(sequence, "sampled")
        start, stopping = own.length, self._stopping(stop)
        limit = min(start + max_tokens, self.max_length)
        logprobs: list[float] = []
        bounds: list[float] = []
        reference: list[float] = []
        stopped = False
        own.sampling = True
        try:
            while not stopped and own.length < limit:
                reply = await self._reply(own, limit - own.length, stop)
                kept = 0
                for token in reply.tokens[: limit - own.length]:
                    own.tokens.append(token)
                    kept += 1
                    if token in stopping.suspects and stopping.met(own.tokens[own.starts[-1] :]):
                        stopped = True
                        break
                logprobs += reply.logprobs[:kept]
                bounds += entropies.lower_bounds(reply.top[:kept], self.top or 0)
                reference += entropies.reference(reply.top[:kept]) if self.reference_entropy else []
        finally:
            own.sampling = False
        if self.entropy_estimator == "sampled":
            bounds = [-value for value in logprobs]
        return Sampled(own.tokens[start:], logprobs, bounds, stopped, reference)

    async def _reply(self, sequence: ServerSequence, count: int, stop: Stop) -> Reply:
        if self._client is None:
            raise RuntimeError('the generator is not running: use it inside "async with generator:"')
        await self._going.wait()
        dialect = self.served.dialect
        wanted = Wanted(
            model=self.served.model,
            prompt=sequence.tokens,
            max_tokens=count if dialect.piece is None or self.top is None else min(count, dialect.piece),
            temperature=self.temperature,
            greedy=self.greedy,
            seed=noise_key(sequence.noise, sequence.length) & _SEED_BITS,
            stop=stop,
            top=self.top,
        )
        data = await self._client.ask(dialect.request(wanted))
        try:
            reply = dialect.parse(data, wanted)
            if not reply.tokens:
                raise BadReply("no token")
        except BadReply as error:
            raise ServerError(f"server {self.endpoint.url} sent what {dialect.name} would not: {error}") from None
        return reply

    def fork(self, sequence: Sequence, length: int, noise: int) -> ServerSequence:
        """A new sequence with the first `length` tokens.

        Raises:
            ValueError: `length` is not within the sequence.
            RuntimeError: `max_sequences` are open, or the sequence was closed.
        """
        source = cast(ServerSequence, sequence)
        if source.closed:
            raise RuntimeError("a closed sequence cannot be forked")
        if not 1 <= length <= source.length:
            raise ValueError(f"cannot fork after {length} tokens of a sequence of {source.length}")
        # Inside the prompt there is no turn to go on with.
        starts = [start for start in source.starts if start <= length] or [length]
        return self._add(ServerSequence(source.tokens[:length], noise, starts))

    def end(self, sequence: Sequence) -> None:
        """Nothing will be sampled from it any more; it can still be forked.

        Raises:
            RuntimeError: It was closed, or is being sampled.
        """
        own = cast(ServerSequence, sequence)
        if not own.ended or own.closed:
            self._own(own, "ended").ended = True

    def close(self, sequence: Sequence) -> None:
        """Free its place; closing twice is allowed.

        Raises:
            RuntimeError: It is being sampled.
        """
        own = cast(ServerSequence, sequence)
        if own.sampling:
            raise RuntimeError("a sequence that is being sampled cannot be closed: cancel its sample call first")
        own.closed = own.ended = True
        self._open.discard(own)

    def pause(self) -> None:
        """Send no request until `resume`; those under way are answered."""
        if self._going.is_set():
            self._going = anyio.Event()

    def resume(self) -> None:
        """Go on."""
        self._going.set()

    def _add(self, sequence: ServerSequence) -> ServerSequence:
        if len(self._open) >= self.max_sequences:
            raise RuntimeError(
                f"{self.max_sequences} sequences are open, no more are allowed: close some or raise max_sequences"
            )
        self._open.add(sequence)
        return sequence

    def _checked(self, tokens: Tokens[int], before: int, what: str) -> list[int]:
        given = [int(t) for t in tokens]
        if before + len(given) > self.max_length:
            raise ValueError(f"{what} has {before + len(given)} tokens, but max_length is {self.max_length}")
        return given

    def _own(self, sequence: Sequence, what: str) -> ServerSequence:
        own = cast(ServerSequence, sequence)
        if own.ended:
            raise RuntimeError(f"a sequence that was {'closed' if own.closed else 'ended'} cannot be {what}")
        if own.sampling:
            raise RuntimeError(f"a sequence that is being sampled cannot be {what}")
        return own

    def _stopping(self, stop: Stop) -> Stopping:
        if stop not in self._stoppings:
            if stop.strings and self._texts is None:
                self._texts = vocabulary_texts(self.tokenizer)
            self._stoppings[stop] = Stopping(stop, self.tokenizer, (self._texts or []) if stop.strings else [])
        return self._stoppings[stop]
