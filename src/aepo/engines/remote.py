"""Grows sequences on a server. Their tokens are kept here and do not depend on the server's cache."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, cast

import anyio

from aepo.engines.handle import Handle
from aepo.engines.stopping import Stopping
from aepo.rollout.generator import GrowingSequence, Sampled, Stop


@dataclass(eq=False)
class RemoteSequence(Handle):
    """The handle of a sequence on a server; `sampling` says whether tokens of it are being sampled."""

    sampling: bool = False


class RemoteGenerator(ABC):
    """Grows sequences by requests to a server (the `Generator` protocol); a subclass makes the requests.

    A request has all tokens of its sequence, and the server's prefix cache finds those that it has read before. A fork
    copies a list of ids. The end of a turn is decided here.

    Args:
        stopping: Prepares a stop condition.
        max_sequences: The number of sequences that may grow at once.
        max_length: The number of tokens that a sequence may hold.
    """

    entropy_estimator: str
    deterministic = False

    def __init__(self, stopping: Callable[[Stop], Stopping], max_sequences: int, max_length: int) -> None:
        self.max_sequences, self.max_length = max_sequences, max_length
        self._stopping = stopping
        self._open: set[RemoteSequence] = set()
        self._growing: set[RemoteSequence] = set()
        self._going = anyio.Event()
        self._going.set()

    @abstractmethod
    async def _draw(self, sequence: RemoteSequence, count: int, stop: Stop) -> Sampled:
        """Sample the next 1 to `count` tokens with one request, which may stop anywhere; `stopped` is not read.

        Raises:
            RuntimeError: The server gives no token.
        """

    async def __aenter__(self) -> Self:
        self._going = anyio.Event()  # the client belongs to this event loop
        self._going.set()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sequence in self._open:
            sequence.closed = sequence.ended = True
        self._open.clear()
        self._growing.clear()

    def open(self, tokens: Sequence[int], noise: int) -> RemoteSequence:
        """Begin a sequence with these tokens.

        Raises:
            ValueError: There is no token, or more than `max_length`.
            RuntimeError: `max_sequences` grow.
        """
        given = self._checked(tokens, 0, "the prompt")
        if not given:
            raise ValueError("a sequence cannot begin with no token: give at least one")
        return self._add(RemoteSequence(given, noise, [len(given)]))

    def extend(self, sequence: GrowingSequence, tokens: Sequence[int]) -> None:
        """Append tokens that are not sampled.

        Raises:
            ValueError: It would become longer than `max_length`.
            RuntimeError: The sequence was ended or closed, or is being sampled.
        """
        own = self._own(sequence, "extended")
        own.tokens.extend(self._checked(tokens, own.length, "the sequence with what is appended"))
        own.starts.append(own.length)

    async def sample(self, sequence: GrowingSequence, max_tokens: int, stop: Stop) -> Sampled:
        """Append sampled tokens, up to `max_tokens` and to a length of `max_length`.

        Tokens after the end of the turn are dropped. If the server stops earlier for a reason of its own, another
        request follows. After a cancellation the tokens of the answered requests stay.

        Raises:
            RuntimeError: The sequence was ended or closed, or is being sampled; the server does not answer.
            ValueError: The server refuses a request.
        """
        own = self._own(sequence, "sampled")
        start, stopping = own.length, self._stopping(stop)
        limit = min(start + max_tokens, self.max_length)
        found = Sampled([], [], [], stopped=False)
        own.sampling = True
        try:
            while not found.stopped and own.length < limit:
                await self._going.wait()
                drawn = await self._draw(own, limit - own.length, stop)
                found = _joined(found, drawn, *_append(own, drawn.tokens[: limit - own.length], stopping))
        finally:
            own.sampling = False
        return found

    def fork(self, sequence: GrowingSequence, length: int, noise: int) -> RemoteSequence:
        """A new sequence with the first `length` tokens.

        Raises:
            ValueError: `length` is not within the sequence.
            RuntimeError: `max_sequences` grow, or the sequence was closed.
        """
        source = cast(RemoteSequence, sequence)
        starts = source.starts_of_fork(length)
        return self._add(RemoteSequence(source.tokens[:length], noise, starts))

    def end(self, sequence: GrowingSequence) -> None:
        """Sample no more tokens of the sequence, and free its room; it can still be forked.

        Raises:
            RuntimeError: It was closed, or is being sampled.
        """
        own = cast(RemoteSequence, sequence)
        if not own.ended or own.closed:
            self._own(own, "ended").ended = True
            self._growing.discard(own)

    def close(self, sequence: GrowingSequence) -> None:
        """Free the sequence; closing twice is allowed.

        Raises:
            RuntimeError: It is being sampled.
        """
        own = cast(RemoteSequence, sequence)
        if own.sampling:
            raise RuntimeError("a sequence that is being sampled cannot be closed: cancel its sample call first")
        own.closed = own.ended = True
        self._open.discard(own)
        self._growing.discard(own)

    def pause(self) -> None:
        """Send no request until `resume`; sent requests are still answered."""
        if self._going.is_set():
            self._going = anyio.Event()

    def resume(self) -> None:
        """Send requests again."""
        self._going.set()

    def _add(self, sequence: RemoteSequence) -> RemoteSequence:
        if len(self._growing) >= self.max_sequences:
            raise RuntimeError(
                f"{self.max_sequences} sequences grow, no more are allowed: end some or raise max_sequences"
            )
        self._open.add(sequence)
        self._growing.add(sequence)
        return sequence

    def _checked(self, tokens: Sequence[int], before: int, what: str) -> list[int]:
        given = [int(t) for t in tokens]
        if before + len(given) > self.max_length:
            raise ValueError(f"{what} has {before + len(given)} tokens, but max_length is {self.max_length}")
        return given

    def _own(self, sequence: GrowingSequence, what: str) -> RemoteSequence:
        own = cast(RemoteSequence, sequence)
        own.refuse(what, own.sampling)
        return own


def _append(own: RemoteSequence, new: list[int], stopping: Stopping) -> tuple[int, bool]:
    """Append tokens up to the first that ends the turn; returns their number, and whether one ended it."""
    for number, token in enumerate(new, 1):
        own.tokens.append(token)
        if token in stopping.suspects and stopping.met(own.tokens[own.starts[-1] :]):
            return number, True
    return len(new), False


def _joined(before: Sampled, new: Sampled, count: int, stopped: bool) -> Sampled:
    return Sampled(
        before.tokens + new.tokens[:count],
        before.logprobs + new.logprobs[:count],
        before.entropies + new.entropies[:count],
        stopped,
        before.reference_entropies + new.reference_entropies[:count],
        new.version,
    )
