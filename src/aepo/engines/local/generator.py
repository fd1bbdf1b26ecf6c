"""Continuous batching over a forkable KV cache: the in-process engine."""

from __future__ import annotations

import inspect
from collections.abc import Sequence as Tokens
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import anyio
import anyio.abc
import anyio.lowlevel
import numpy as np
import torch
from torch import Tensor

from aepo.core.noise import uniforms
from aepo.engines.local import attention
from aepo.engines.local.cache import Call, RowCache
from aepo.engines.local.direct import direct_forward
from aepo.engines.local.prefixes import ReadPrefixes
from aepo.engines.local.sampling import draw
from aepo.engines.local.schedule import CHUNK, compacting_moves, exact_moves, prefill_batch, prefill_group
from aepo.engines.local.sequence import LocalSequence, Request
from aepo.engines.local.supported import layer_count, refuse_unsupported
from aepo.engines.stopping import Stopping, vocabulary_texts
from aepo.rollout.generator import Sampled, Sequence, Stop

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Positions a cache block on a CPU: short enough that few are read in vain, long enough that calls are few.
CPU_BLOCK = 64
# Padded tokens in one prefill call. On a CPU few enough that what one layer hands to the next stays in the cache.
CPU_CALL_TOKENS, CALL_TOKENS = 1024, 8192
# Passes of the event loop between two model calls. A pass takes microseconds and a call milliseconds; what a tool
# answers needs several passes until its path asks for tokens again.
PASSES = 5


class LocalGenerator:
    """Grows sequences with a `transformers` causal LM in this process (the `Generator` protocol).

    While it is entered, a background task makes one model call after another: a decode step of all requests that have
    one unread token, or a prefill of those that have several (`schedule`). Between calls the event loop runs, so that
    whoever was served can ask again before the next. Calls run in the event loop's thread.

    The next token is drawn by inverse cumulative distribution from softmax(z / T) over ids below len(tokenizer) (a
    model may have padding rows above), with the uniform of (the sequence's noise key, the token's position).

    The model is put into evaluation mode while the engine is entered; leaving it closes every sequence, since the
    weights may change before it is entered again.

    Args:
        model: A causal LM all of whose layers are full attention; attention "sdpa" or "eager".
        tokenizer: Its tokenizer.
        temperature: T > 0.
        max_sequences: How many may be open at once.
        max_length: Tokens a sequence may hold.
        deterministic: Call the model only when all open sequences that were not ended are being sampled, with rows in
            the order of their noise keys: batches, hence roundings, then do not depend on who waited for what. Open
            all sequences that start together before sampling from the first.
        greedy: Take the likeliest token; log-probabilities and entropies stay those at T.
        reference_entropy: Record also -sum p ln p over the ten likeliest tokens.
        direct: On a CPU, run a Llama-shaped model without its modules (`direct_forward`); same results to rounding.

    Raises:
        ValueError: The model cannot be run here, or an argument is out of range.
    """

    entropy_estimator: str = "full"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        temperature: float = 1.0,
        max_sequences: int = 128,
        max_length: int = 1024,
        deterministic: bool = False,
        greedy: bool = False,
        reference_entropy: bool = False,
        direct: bool = True,
    ) -> None:
        refuse_unsupported(model)
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}, it must be above 0; greedy=True takes the likeliest token")
        limit = getattr(model.config, "max_position_embeddings", None)
        if limit is not None and max_length > limit:
            raise ValueError(f"max_length is {max_length}, but the model was built for {limit} positions")
        self.model = model
        self.tokenizer = tokenizer
        self.temperature = temperature
        self.max_sequences = max_sequences
        self.max_length = max_length
        self.deterministic = deterministic
        self.greedy = greedy
        self.reference_entropy = reference_entropy
        self._device = model.device
        self._vocabulary = len(tokenizer)
        # Blocks pay on a CPU. An accelerator's kernels read strided views at full speed: there one block is the cache.
        self._in_place = self._device.type == "cpu" and bool(getattr(model, "_supports_attention_backend", False))
        self._cache = RowCache(layer_count(model), CPU_BLOCK if self._in_place else max_length)
        self._call_tokens = CPU_CALL_TOKENS if self._device.type == "cpu" else CALL_TOKENS
        if self._in_place:
            attention.register()
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        parameters = inspect.signature(base.forward).parameters
        self._last_only: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in parameters else {}
        # transformers renamed the argument in 5.24.
        self._cache_argument = "cache" if "cache" in parameters else "past_key_values"
        self._direct = direct_forward(model) if direct and self._in_place else None
        self._table: list[LocalSequence | None] = []
        self._prefixes = ReadPrefixes()
        self._requests: dict[LocalSequence, Request] = {}
        self._opened = 0
        self._live = 0
        self._texts: list[str] | None = None
        self._stoppings: dict[Stop, Stopping] = {}
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
            # The body's error goes on as it is, not inside an exception group.
            await group.__aexit__(None, None, None)
        finally:
            self._fail(RuntimeError("the generator was left while this sequence was being sampled"))
            for sequence in self._table:
                if sequence is not None:
                    sequence.closed = sequence.ended = True
            self._table.clear()
            self._prefixes.clear()
            self._live = 0
            if self._device.type != "cpu":
                self._cache.release()
            self.model.train(self._was_training)

    def open(self, tokens: Tokens[int], noise: int) -> LocalSequence:
        """Begin a sequence with given tokens.

        Raises:
            ValueError: No token, more than `max_length`, or an id that the model does not have.
            RuntimeError: `max_sequences` are open.
        """
        given = self._checked(tokens, 0, "the prompt")
        if not given:
            raise ValueError("a sequence cannot begin with no token: give at least one")
        return self._add(given, noise, [len(given)])

    def extend(self, sequence: Sequence, tokens: Tokens[int]) -> None:
        """Append given tokens; they are read in one go when it is next sampled.

        Raises:
            ValueError: It would become longer than `max_length`, or an id is not the model's.
            RuntimeError: The sequence was ended or closed, or is being sampled.
        """
        own = self._own(sequence, "extended")
        own.tokens.extend(self._checked(tokens, own.length, "the sequence with what is appended"))
        own.starts.append(own.length)

    async def sample(self, sequence: Sequence, max_tokens: int, stop: Stop) -> Sampled:
        """Append sampled tokens, up to `max_tokens` and to a length of `max_length`.

        Stop strings are looked for in the text of everything since the sequence was last given tokens. Cancelling it
        leaves the tokens sampled so far in the sequence.

        Raises:
            RuntimeError: The sequence was ended or closed, or is being sampled; the engine is not entered.
            Exception: Whatever the model raised.
        """
        own = self._own(sequence, "sampled")
        if self._group is None:
            raise RuntimeError('the generator is not running: use it inside "async with generator:"')
        start = own.length
        limit = min(start + max_tokens, self.max_length)
        if limit <= start:
            return Sampled([], [], [], False)
        # After a failed call everything may have been read without a token drawn: the last one is read again.
        own.cached = min(own.cached, start - 1)
        request = Request(own, limit, self._stopping(stop))
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
            own.tokens[start:], request.logprobs, request.entropies, request.stopped, request.reference_entropies
        )

    def fork(self, sequence: Sequence, length: int, noise: int) -> LocalSequence:
        """A new sequence with the first `length` tokens; their keys and values are copied, the last one's excepted.

        Raises:
            ValueError: `length` is not within the sequence.
            RuntimeError: `max_sequences` are open, or the sequence was closed.
        """
        source = cast(LocalSequence, sequence)
        if source.closed:
            raise RuntimeError("a closed sequence cannot be forked")
        if not 1 <= length <= source.length:
            raise ValueError(f"cannot fork after {length} tokens of a sequence of {source.length}")
        # Inside the prompt there is no turn to go on with.
        starts = [start for start in source.starts if start <= length] or [length]
        new = self._add(source.tokens[:length], noise, starts)
        # The last token is read again, since what is sampled next needs the model's output there.
        new.cached = min(source.cached, length - 1)
        with torch.inference_mode():
            self._cache.move([source.slot], [new.slot], new.cached)
        return new

    def end(self, sequence: Sequence) -> None:
        """Nothing will be sampled from it any more; it can still be forked.

        Raises:
            RuntimeError: It was closed, or is being sampled.
        """
        own = cast(LocalSequence, sequence)
        if own.ended and not own.closed:
            return
        self._own(own, "ended").ended = True
        self._live -= 1
        self._wake.set()

    def close(self, sequence: Sequence) -> None:
        """Free what it holds; closing twice is allowed.

        Raises:
            RuntimeError: It is being sampled.
        """
        own = cast(LocalSequence, sequence)
        if own.closed:
            return
        if own in self._requests:
            raise RuntimeError("a sequence that is being sampled cannot be closed: cancel its sample call first")
        self._live -= not own.ended
        own.closed = own.ended = True
        self._prefixes.forget(own)
        self._table[own.slot] = None
        self._wake.set()

    def pause(self) -> None:
        """Make no model call until `resume`; the model is as it was before it was entered, to be trained.

        Keys and values are of no use under other weights: all that is open will be read again.
        """
        self._paused = True
        self.model.train(self._was_training)
        self._prefixes.clear()
        for sequence in self._table:
            if sequence is not None:
                sequence.cached = 0
        if self._device.type != "cpu":
            self._cache.release()

    def resume(self) -> None:
        """Go on, with the weights as they are now."""
        self._paused = False
        self._was_training = self.model.training
        self.model.eval()
        if self._direct is not None:
            self._direct.refresh()
        self._wake.set()

    def _add(self, tokens: list[int], noise: int, starts: list[int]) -> LocalSequence:
        slot = next((i for i, held in enumerate(self._table) if held is None), len(self._table))
        if slot >= self.max_sequences:
            raise RuntimeError(
                f"{self.max_sequences} sequences are open, no more are allowed: close some or raise max_sequences"
            )
        if slot == len(self._table):
            self._table.append(None)
            with torch.inference_mode():
                self._cache.reserve(len(self._table), 0, self.max_sequences, self.max_length)
        new = LocalSequence(tokens, noise, self._opened, slot, starts=starts)
        self._table[slot] = new
        self._opened += 1
        self._live += 1
        return new

    def _checked(self, tokens: Tokens[int], before: int, what: str) -> list[int]:
        given = [int(t) for t in tokens]
        if before + len(given) > self.max_length:
            raise ValueError(f"{what} has {before + len(given)} tokens, but max_length is {self.max_length}")
        size = self.model.config.get_text_config().vocab_size
        if given and not (min(given) >= 0 and max(given) < size):
            raise ValueError(f"token ids must lie in 0..{size - 1}, got {min(given)}..{max(given)}")
        return given

    def _own(self, sequence: Sequence, what: str) -> LocalSequence:
        own = cast(LocalSequence, sequence)
        if own.ended:
            raise RuntimeError(f"a sequence that was {'closed' if own.closed else 'ended'} cannot be {what}")
        if own in self._requests:
            raise RuntimeError(f"a sequence that is being sampled cannot be {what}")
        return own

    def _stopping(self, stop: Stop) -> Stopping:
        if stop not in self._stoppings:
            if stop.strings and self._texts is None:
                self._texts = vocabulary_texts(self.tokenizer)
            self._stoppings[stop] = Stopping(stop, self.tokenizer, (self._texts or []) if stop.strings else [])
        return self._stoppings[stop]

    async def _drive(self) -> None:
        while True:
            while self._paused or not self._requests or (self.deterministic and len(self._requests) < self._live):
                self._wake = anyio.Event()
                await self._wake.wait()
            try:
                with torch.inference_mode():
                    self._call_model()
            except Exception as error:
                # Positions that the failed call wrote are beyond `cached`: the engine stays usable.
                self._fail(error)
            for _ in range(PASSES):
                await anyio.lowlevel.checkpoint()

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
            self._prefill(prefill_batch(group, self._call_tokens))
        else:
            self._decode([r for r in requests if r.sequence.uncached == 1])

    def _take_what_was_read(self, request: Request) -> None:
        """Copy the keys and values of a sequence that has read the same; the last token is read again."""
        own = request.sequence
        holder = self._prefixes.find(own)
        if holder is not None:
            self._cache.move([holder.slot], [own.slot], own.length - 1, start=own.cached)
            own.cached, request.waited = own.length - 1, 0

    def _decode(self, requests: list[Request]) -> None:
        rows = [r.sequence for r in requests]
        self._arrange(rows)
        count = max(row.slot for row in rows) + 1
        idle = LocalSequence([0], 0, 0, 0)
        held = [row or idle for row in self._table[:count]]
        # An idle row computes a token that nobody sees; what it writes lies beyond what it has cached.
        places = [min(row.cached, self.max_length - 1) for row in held]
        last = [row.tokens[row.cached] if row.uncached else 0 for row in held]
        self._reserve(max(places) + 1)
        longest = max(row.cached for row in rows) + 1
        call = Call(None, self._tensor(places)[:, None], length=longest)
        if self._in_place:
            block = self._cache.block
            call.rows_in_block = [
                1 + max(row.slot for row in rows if row.cached >= start) for start in range(0, longest, block)
            ]
        logits = self._forward(self._tensor(last)[:, None], call)
        for row in rows:
            row.cached += 1
        if len(rows) < count:
            logits = logits[self._tensor([row.slot for row in rows])]
        elif [row.slot for row in rows] != list(range(count)):
            by_slot = {row.slot: request for row, request in zip(rows, requests, strict=True)}
            requests = [by_slot[slot] for slot in range(count)]
        self._draw(requests, logits)

    def _prefill(self, batch: list[Request]) -> None:
        rows = [request.sequence for request in batch]
        parts = [row.tokens[row.cached : row.cached + CHUNK] for row in rows]
        width = max(map(len, parts))
        # On the left, so that the last column holds everyone's last token.
        padding = [width - len(part) for part in parts]
        ids = self._tensor([[0] * pad + part for pad, part in zip(padding, parts, strict=True)])
        pads = self._tensor(padding)[:, None]
        column = torch.arange(width, device=self._device)
        valid = column >= pads
        positions = (column - pads + self._tensor([row.cached for row in rows])[:, None]).clamp_(min=0)
        ends = [row.cached + len(part) for row, part in zip(rows, parts, strict=True)]
        self._reserve(max(ends))
        call = Call(self._tensor([row.slot for row in rows]), positions, valid if any(padding) else None)
        if any(row.cached for row in rows):
            call.length = max(ends)
            seen = torch.arange(call.length, device=self._device) <= positions[:, :, None]
        else:
            seen = (column <= column[:, None]) & valid[:, None]
            # A padding query must see something: a softmax over nothing is NaN, and NaN * 0 stays.
            seen |= torch.eye(width, dtype=torch.bool, device=self._device)
        logits = self._forward(ids, call, seen)
        for row, end in zip(rows, ends, strict=True):
            row.cached = end
        read = [i for i, row in enumerate(rows) if not row.uncached]
        for i in read:
            batch[i].waited = 0
            self._prefixes.add(rows[i])
        if read:
            self._draw([batch[i] for i in read], logits[self._tensor(read)])

    def _forward(self, ids: Tensor, call: Call, seen: Tensor | None = None) -> Tensor:
        """(R, V) logits after each row's last token; `seen` (R, T, keys) bool, by default all up to the position."""
        if seen is None:
            seen = torch.arange(call.length, device=self._device) <= call.positions[:, :, None]
        mask = torch.zeros(seen.shape, dtype=self.model.dtype, device=self._device)
        mask = mask.masked_fill_(~seen, -torch.inf)[:, None]
        self._cache.call = call
        if self._direct is not None:
            return self._direct(ids, mask, self._cache, self._vocabulary)
        config = self.model.config
        usual = config._attn_implementation
        if call.rows_in_block:
            config._attn_implementation = attention.NAME
        try:
            out = self.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=call.positions,
                use_cache=True,
                **{self._cache_argument: self._cache},
                **self._last_only,
            )
        finally:
            config._attn_implementation = usual
        return cast(Tensor, out.logits[:, -1, : self._vocabulary])

    def _draw(self, requests: list[Request], logits: Tensor) -> None:
        keys = np.array([r.sequence.noise & (2**64 - 1) for r in requests], dtype=np.uint64)
        places = np.array([len(r.sequence.tokens) for r in requests])
        chance = torch.from_numpy(uniforms(keys, places))
        drawn = draw(logits, chance, self.temperature, self.greedy, self.reference_entropy)
        for i, (request, token) in enumerate(zip(requests, drawn.tokens, strict=True)):
            if drawn.reference_entropies:
                request.reference_entropies.append(drawn.reference_entropies[i])
            if request.append(token, drawn.logprobs[i], drawn.entropies[i]):
                del self._requests[request.sequence]
                request.done.set()

    def _arrange(self, rows: list[LocalSequence]) -> None:
        moves = (exact_moves if self.deterministic else compacting_moves)(self._table, rows)
        if not moves:
            return
        moving = [(self._table[source], target) for source, target in moves]
        longest = max(row.cached for row, _ in moving if row is not None)
        self._cache.move([source for source, _ in moves], [target for _, target in moves], longest)
        for source, _ in moves:
            self._table[source] = None
        for row, target in moving:
            assert row is not None
            row.slot = target
            self._table[target] = row

    def _reserve(self, length: int) -> None:
        self._cache.reserve(len(self._table), length, self.max_sequences, self.max_length)

    def _tensor(self, values: Any) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=self._device)
