"""The engine of this process: continuous batching over a KV cache whose sequences can be forked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

import anyio
import anyio.abc
import anyio.lowlevel
import numpy as np
import torch
from torch import Tensor

from aepo.core.noise import uniforms
from aepo.engines.local.dispatch import forward_of
from aepo.engines.local.prefixes import ReadPrefixes
from aepo.engines.local.sampling import draw
from aepo.engines.local.schedule import compacting_moves, exact_moves, prefill_batch, prefill_group
from aepo.engines.local.sequence import LocalSequence, SampleRequest
from aepo.engines.local.supported import refuse_unsupported
from aepo.engines.local.table import RowTable
from aepo.engines.stopping import stoppings
from aepo.process.memory import memory_advice
from aepo.rollout.generator import USUAL, GeneratorSettings, GrowingSequence, Sampled, Stop, TooLong

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Passes of the event loop between two model calls. A pass takes microseconds and a call milliseconds. After a tool's
# answer, several passes are needed until its path asks for tokens again.
PASSES = 5
LESS = "lower rollout.max_sequences or rollout.max_tokens"


class LocalGenerator:
    """Grows sequences with a `transformers` causal LM in this process (the `Generator` protocol).

    While it is entered, a background task makes one model call after another: a decode step of all requests that have
    one unread token, or a prefill of those that have several (`schedule`). Between calls the event loop runs, so that
    paths that got their tokens can ask again before the next call. Calls run in the event loop's thread.

    The next token is drawn by the inverse cumulative distribution from softmax(z / T) over ids below len(tokenizer); a
    model may have padding rows above. The uniform number is that of the sequence's noise key and the token's position.

    The model is in evaluation mode while the engine is entered. Leaving the engine closes every sequence, because the
    weights may change before it is entered again.

    Args:
        model: A causal LM all of whose layers are full attention; attention "sdpa" or "eager".
        tokenizer: Its tokenizer.
        settings: How it samples.
        version: Gives the version of the model's weights, which sampled tokens carry.

    Raises:
        ValueError: The model cannot be run here, or not with so long sequences.
    """

    entropy_estimator: str = "full"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        settings: GeneratorSettings = USUAL,
        version: Callable[[], int | None] = lambda: None,
    ) -> None:
        refuse_unsupported(model.config, settings.max_length)
        limit = getattr(model.config, "max_position_embeddings", None)
        if limit is not None and settings.max_length > limit:
            raise TooLong(
                f"max_length is {settings.max_length}, but the model was built for {limit} positions: shorten "
                "the prompts, or lower rollout.max_tokens"
            )
        self.model, self.settings, self.version = model, settings, version
        self.max_sequences, self.deterministic = settings.max_sequences, settings.deterministic
        self._table = RowTable(forward_of(model, len(tokenizer), settings.max_sequences, settings.max_length))
        self._prefixes = ReadPrefixes()
        self._stopping = stoppings(tokenizer)
        self._requests: dict[LocalSequence, SampleRequest] = {}
        self._opened = 0
        self._group: anyio.abc.TaskGroup | None = None
        self._wake = anyio.Event()
        self._was_training = False
        self._paused = False

    async def __aenter__(self) -> Self:
        if self._group is not None:
            raise RuntimeError("the generator is already entered: one rollout at a time")
        self.resume()
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._drive)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        group, self._group = self._group, None
        assert group is not None
        group.cancel_scope.cancel()
        try:
            # The body's error leaves as it is, not inside an exception group.
            await group.__aexit__(None, None, None)
        finally:
            self._fail(RuntimeError("the generator was left while this sequence was being sampled"))
            for sequence in self._table:
                sequence.closed = sequence.ended = True
            self._table.clear()
            self._prefixes.clear()
            self._table.release()
            self.model.train(self._was_training)

    def open(self, tokens: Sequence[int], noise: int) -> LocalSequence:
        """Begin a sequence with these tokens.

        Raises:
            ValueError: No token, more than `max_length`, or an id that the model does not have.
            RuntimeError: `max_sequences` grow.
        """
        given = self._checked(tokens, 0, "the prompt")
        if not given:
            raise ValueError("a sequence cannot begin with no token: give at least one")
        with torch.inference_mode():
            return self._table.add(given, noise, self._next(), [len(given)])

    def extend(self, sequence: GrowingSequence, tokens: Sequence[int]) -> None:
        """Append tokens that are not sampled. They are read in one call when the sequence is next sampled.

        Raises:
            ValueError: It would become longer than `max_length`, or an id is not the model's.
            RuntimeError: The sequence was ended or closed, or is being sampled.
        """
        own = self._own(sequence, "extended")
        own.tokens.extend(self._checked(tokens, own.length, "the sequence with what is appended"))
        own.starts.append(own.length)

    async def sample(self, sequence: GrowingSequence, max_tokens: int, stop: Stop) -> Sampled:
        """Append sampled tokens, up to `max_tokens` and to a length of `max_length`.

        Stop strings are looked for in the text of all tokens since the sequence was last given some. After a
        cancellation the tokens sampled so far stay in the sequence.

        Raises:
            RuntimeError: The sequence was ended or closed, or is being sampled; the engine is not entered.
            Exception: The model raised it.
        """
        own = self._own(sequence, "sampled")
        if self._group is None:
            raise RuntimeError('the generator is not running: use it inside "async with generator:"')
        start = own.length
        limit = min(start + max_tokens, self.settings.max_length)
        if limit <= start:
            return Sampled([], [], [], False)
        # A failed call may have read all tokens without drawing one, so the last token is read again.
        own.cached = min(own.cached, start - 1)
        request = SampleRequest(own, limit, self._stopping(stop))
        self._requests[own] = request
        self._wake.set()
        try:
            await request.done.wait()
        finally:
            if self._requests.get(own) is request:
                del self._requests[own]
        if request.error is not None:
            raise request.error
        return Sampled(
            own.tokens[start:],
            request.logprobs,
            request.entropies,
            request.stopped,
            request.reference_entropies,
            self.version(),
        )

    def fork(self, sequence: GrowingSequence, length: int, noise: int) -> LocalSequence:
        """A new sequence with the first `length` tokens; keys and values of all but the last one are copied.

        If the sequence has ended and another one has its slot, its tokens are read again, from the longest prefix that
        is still in the cache.

        Raises:
            ValueError: `length` is not within the sequence.
            RuntimeError: `max_sequences` grow, or the sequence was closed.
        """
        source = cast(LocalSequence, sequence)
        starts = source.starts_of_fork(length)
        # The last token is read again, because the next token is drawn from the model's output there.
        with torch.inference_mode():
            return self._table.fork(source, length, noise, self._next(), starts)

    def end(self, sequence: GrowingSequence) -> None:
        """Sample no more tokens of the sequence; it can still be forked.

        Its room is free, but its keys and values stay until another sequence needs their place.

        Raises:
            RuntimeError: It was closed, or is being sampled.
        """
        own = cast(LocalSequence, sequence)
        if own.ended and not own.closed:
            return
        self._own(own, "ended").ended = True
        self._table.end(own)
        self._wake.set()

    def close(self, sequence: GrowingSequence) -> None:
        """Free the sequence; closing twice is allowed.

        Raises:
            RuntimeError: It is being sampled.
        """
        own = cast(LocalSequence, sequence)
        if own.closed:
            return
        if own in self._requests:
            raise RuntimeError("a sequence that is being sampled cannot be closed: cancel its sample call first")
        own.closed = own.ended = True
        self._prefixes.forget(own)
        self._table.remove(own)
        self._wake.set()

    def pause(self) -> None:
        """Make no model call until `resume`, so that the model can be trained.

        The model gets back the mode that it had before the engine was entered. Keys and values do not fit other
        weights, so all open sequences will be read again.
        """
        self._paused = True
        self.model.train(self._was_training)
        self._prefixes.clear()
        self._table.forget_weights()
        self._table.release()

    def resume(self) -> None:
        """Go on with the current weights."""
        self._paused = False
        self._was_training = self.model.training
        self.model.eval()
        self._table.new_weights()
        self._wake.set()

    def _next(self) -> int:
        self._opened += 1
        return self._opened - 1

    def _checked(self, tokens: Sequence[int], before: int, what: str) -> list[int]:
        given = [int(t) for t in tokens]
        if before + len(given) > self.settings.max_length:
            raise ValueError(f"{what} has {before + len(given)} tokens, but max_length is {self.settings.max_length}")
        size = self.model.config.get_text_config().vocab_size
        if given and not (min(given) >= 0 and max(given) < size):
            raise ValueError(f"token ids must lie in 0..{size - 1}, got {min(given)}..{max(given)}")
        return given

    def _own(self, sequence: GrowingSequence, what: str) -> LocalSequence:
        own = cast(LocalSequence, sequence)
        own.refuse(what, own in self._requests)
        return own

    async def _drive(self) -> None:
        while True:
            while self._paused or not self._requests or (self.deterministic and not self._all_ask()):
                self._wake = anyio.Event()
                await self._wake.wait()
            try:
                with torch.inference_mode(), memory_advice("sampling", LESS):
                    self._call_model()
            except Exception as error:
                # The failed call wrote only positions beyond `cached`, so the engine stays usable.
                self._fail(error)
            for _ in range(PASSES):
                await anyio.lowlevel.checkpoint()

    def _all_ask(self) -> bool:
        return len(self._requests) >= sum(not row.ended for row in self._table)

    def _fail(self, error: Exception) -> None:
        for request in self._requests.values():
            request.error = error
            request.done.set()
        self._requests.clear()

    def _call_model(self) -> None:
        requests = list(self._requests.values())
        if self.deterministic:
            requests.sort(key=lambda r: (r.sequence.noise, r.sequence.order))
        for request in requests:
            if request.sequence.uncached > 1:
                self._take_what_was_read(request)
        group = prefill_group(requests, eager=self.deterministic)
        if group:
            batch = [request.sequence for request in prefill_batch(group, self._table.call_tokens)]
            rows, logits = self._table.prefill(batch)
            for row in rows:
                self._requests[row].waited = 0
                self._prefixes.add(row)
        else:
            ready = [r.sequence for r in requests if r.sequence.uncached == 1]
            rows, logits = self._table.decode(ready, exact_moves if self.deterministic else compacting_moves)
        if rows:
            self._draw([self._requests[row] for row in rows], logits)

    def _take_what_was_read(self, request: SampleRequest) -> None:
        """Copy the keys and values of a sequence that has read the same; the last token is read again."""
        own = request.sequence
        found = self._prefixes.find(own)
        if found is not None:
            holder, length = found
            self._table.copy(holder, own, min(length, own.length - 1))

    def _draw(self, requests: list[SampleRequest], logits: Tensor) -> None:
        keys = np.array([r.sequence.noise & (2**64 - 1) for r in requests], dtype=np.uint64)
        places = np.array([len(r.sequence.tokens) for r in requests])
        chance = torch.from_numpy(uniforms(keys, places))
        how = self.settings
        drawn = draw(logits, chance, how.temperature, how.greedy, how.reference_entropy)
        for i, (request, token) in enumerate(zip(requests, drawn.tokens, strict=True)):
            if drawn.reference_entropies:
                request.reference_entropies.append(drawn.reference_entropies[i])
            if request.append(token, drawn.logprobs[i], drawn.entropies[i]):
                del self._requests[request.sequence]
                request.done.set()
