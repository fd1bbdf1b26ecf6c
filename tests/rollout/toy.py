"""A toy engine, protocol and tool: pure functions of keys and tokens, without a clock, that check how they are used."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self, TypeVar, cast

import anyio
from anyio.lowlevel import checkpoint

from aepo.core.exploration import Exploration, ExplorationState
from aepo.core.noise import noise_key, uniform
from aepo.rollout import generator as engine
from aepo.rollout.agent import Agent, OnFormatError
from aepo.rollout.chat.base import ParsedTurn
from aepo.rollout.explorer import Seeds, explore
from aepo.rollout.generator import Sampled, Stop
from aepo.rollout.growing import Scorer
from aepo.rollout.path import Limits
from aepo.rollout.together import OnToolBug
from aepo.tools.base import Tool, tool
from aepo.types import Group, Sample, ToolCall, ToolResult

PROMPT, RESULT, END, ANSWER, CALL, MISCALL, FORGED, CALLS, TOLD = range(9)
WORD = 10  # the first word; word n is WORD + n
LETTER = 1000  # the first letter of what was given as text
VOCABULARY = 100
SEEDS = Seeds(run=7, step=3)
NEVER = 1e9  # seconds
GENEROUS = Limits(max_tokens=10_000, max_tool_calls=100)


class Place(NamedTuple):
    """Where a token is sampled.

    Attributes:
        key: The noise of its path.
        turn: Observations before it, inherited ones included.
        number: Tokens of the turn before it.
        draw: In [0, 1), a function of key, position and all tokens before.
        other: A second such number.
    """

    key: int
    turn: int
    number: int
    draw: float
    other: float


T = TypeVar("T")
Policy = Callable[[Place], int]
Entropy = Callable[[Place], float]


@dataclass(eq=False)
class ToySequence:
    """What the engine holds of one path."""

    key: int
    tokens: list[int]
    starts: list[int]
    ended: bool = False
    closed: bool = False
    sampling: bool = False

    @property
    def length(self) -> int:
        return len(self.tokens)

    def place(self) -> Place:
        digest = self.key ^ hash(tuple(self.tokens))  # integers hash the same in every process
        at = self.length
        return Place(self.key, len(self.starts) - 1, at - self.starts[-1], uniform(digest, at), uniform(~digest, at))


class Event(NamedTuple):
    """One thing that the engine was asked for: "open", "fork", "sampled" (when it is done), "end" or "close"."""

    what: str
    key: int
    length: int


def wild(at: Place) -> int:
    """Turns of four tokens on average that end in any way."""
    if at.draw < 0.75:
        return WORD + int(at.draw * 40)
    for share, token in ((0.9, CALL), (0.925, CALLS), (0.94, MISCALL), (0.955, FORGED), (0.97, END)):
        if at.draw < share:
            return token
    return ANSWER


def wild_entropy(at: Place) -> float:
    """Anything from 0 to 3 nats."""
    return 3.0 * at.other


@dataclass
class ToyGenerator:
    """An engine whose tokens come from `policy`.

    Attributes:
        policy: The token at a place.
        entropy: The entropy there, in nats.
        max_sequences: Sequences that may grow at once.
        delay: How many checkpoints a sampling call takes before its tokens are there.
        events: What was asked for, in order.
        peak: The most sequences that grew at once.
    """

    policy: Policy = wild
    entropy: Entropy = wild_entropy
    max_sequences: int = 1000
    delay: Callable[[], int] = lambda: 1
    entropy_estimator: str = "full"
    deterministic: bool = False
    events: list[Event] = field(default_factory=list)
    peak: int = 0
    opened: set[ToySequence] = field(default_factory=set)
    entered: bool = False
    finished: dict[int, anyio.Event] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        assert not self.entered, "entered twice"
        self.entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.entered = False
        assert not self.opened, f"{len(self.opened)} sequences were never closed"

    def open(self, tokens: Sequence[int], noise: int) -> ToySequence:
        return self._hold("open", ToySequence(noise, list(tokens), [len(tokens)]))

    def extend(self, sequence: engine.Sequence, tokens: Sequence[int]) -> None:
        own = self._own(sequence)
        assert not own.ended and not own.sampling, "extended after its end or while it is sampled"
        assert tokens
        own.tokens += tokens
        own.starts.append(own.length)

    async def sample(self, sequence: engine.Sequence, max_tokens: int, stop: Stop) -> Sampled:
        own = self._own(sequence)
        assert not own.ended and not own.sampling, "sampled after its end or twice at once"
        assert max_tokens >= 1, f"asked for {max_tokens} tokens"
        own.sampling = True
        try:
            for _ in range(self.delay()):
                await checkpoint()
        finally:
            own.sampling = False
        start = own.length
        entropies: list[float] = []
        while own.length < start + max_tokens:
            place = own.place()
            own.tokens.append(self.policy(place))
            entropies.append(self.entropy(place))
            if own.tokens[-1] in stop.tokens:
                break
        self._note("sampled", own)
        new = own.tokens[start:]
        return Sampled(new, [-h / 3 for h in entropies], entropies, new[-1] in stop.tokens, [h / 2 for h in entropies])

    def fork(self, sequence: engine.Sequence, length: int, noise: int) -> ToySequence:
        own = self._own(sequence)
        assert own.starts[0] <= length <= own.length, "forked inside the prompt or beyond the end"
        kept = [start for start in own.starts if start <= length]
        return self._hold("fork", ToySequence(noise, own.tokens[:length], kept))

    def end(self, sequence: engine.Sequence) -> None:
        own = self._own(sequence)
        assert not own.ended and not own.sampling
        own.ended = True
        self._note("end", own)
        self.end_of(own.key).set()

    def close(self, sequence: engine.Sequence) -> None:
        own = self._own(sequence)
        assert not own.sampling, "closed while it is sampled"
        own.closed = True
        self.opened.remove(own)
        self._note("close", own)

    def pause(self) -> None:
        assert self.entered, "paused outside of its context"

    def resume(self) -> None:
        assert self.entered, "resumed outside of its context"

    def end_of(self, key: int) -> anyio.Event:
        """Set when the path with this noise has ended."""
        return self.finished.setdefault(key, anyio.Event())

    def keys(self, *what: str) -> list[int]:
        """The noise keys of these events, in order."""
        return [event.key for event in self.events if event.what in what]

    def sampled_tokens(self, key: int, tokens: Sequence[int], count: int, starts: list[int]) -> list[int]:
        """What the path with this noise writes after `tokens`."""
        own = ToySequence(key, list(tokens), starts)
        for _ in range(count):
            own.tokens.append(self.policy(own.place()))
        return own.tokens[len(tokens) :]

    def _hold(self, what: str, new: ToySequence) -> ToySequence:
        assert self.entered, "used outside of its context"
        self.opened.add(new)
        growing = sum(not each.ended for each in self.opened)
        assert growing <= self.max_sequences, "more sequences than allowed"
        self.peak = max(self.peak, growing)
        self._note(what, new)
        return new

    def _own(self, sequence: engine.Sequence) -> ToySequence:
        own = cast(ToySequence, sequence)
        assert self.entered, "used outside of its context"
        assert not own.closed and own in self.opened, "used after it was closed"
        return own

    def _note(self, what: str, sequence: ToySequence) -> None:
        self.events.append(Event(what, sequence.key, sequence.length))


def encode(text: str) -> list[int]:
    return [LETTER + ord(letter) for letter in text]


def decode(tokens: Iterable[int]) -> str:
    return "".join(chr(token - LETTER) for token in tokens if token >= LETTER)


class ToyProtocol:
    """Special ids end a turn; the words before them are the argument or the answer."""

    name = "toy"
    reserved = ("[call]",)
    stop = Stop(frozenset({END, ANSWER, CALL, MISCALL, FORGED, CALLS}))

    def prompt(self, question: str, instruction: str = "") -> list[int]:
        return [PROMPT, *encode(instruction + question)]

    def parse(self, tokens: Sequence[int]) -> ParsedTurn:
        text = " ".join(str(token - WORD) for token in tokens[:-1])
        match tokens[-1]:
            case t if t == ANSWER:
                return ParsedTurn(answer=text or "nothing")
            case t if t == CALL:
                return ParsedTurn(calls=(ToolCall("ask", {"what": text}),))
            case t if t == MISCALL:
                return ParsedTurn(calls=(ToolCall("ask", {"who": text}),))
            case t if t == CALLS:
                asked = [ToolCall("ask", {"what": str(token - WORD)}) for token in tokens[-3:-1]]
                return ParsedTurn(calls=(*asked[:1], ToolCall("ask", {"who": text}), *asked[1:]))
            case t if t == FORGED:
                return ParsedTurn(error="wrote a result itself")
        return ParsedTurn()

    def call_start(self, tokens: Sequence[int]) -> int:
        """A call is its last word and the id; the words before are thinking, which `parse` shows too.

        Several calls are the last two words, with one between them that cannot be run.
        """
        assert tokens[-1] in (CALL, MISCALL, CALLS)
        return max(0, len(tokens) - (3 if tokens[-1] == CALLS else 2))

    def call_opened(self, tokens: Sequence[int]) -> int:
        """The first word of a call opens it."""
        return self.call_start(tokens) + 1

    def observation(
        self, results: Sequence[ToolResult], calls: Sequence[ToolCall], turn: Sequence[int] = ()
    ) -> list[int]:
        assert len(results) == len(calls)
        return [token for result in results for token in (RESULT, *encode(result.text))]

    def format_error(self, error: str, turn: Sequence[int]) -> list[int]:
        return [TOLD, *encode(error)]


async def echo(what: str) -> str:
    return what[:3]


def asking(answer: Callable[[str], Awaitable[str]] = echo) -> Tool:
    """The tool that `CALL` calls."""

    @tool(timeout=NEVER)
    async def ask(what: str) -> str:
        """Ask for something.

        Args:
            what: What to ask for.
        """
        return await answer(what)

    return ask


def key_of(path: int, question: str = "q0", seeds: Seeds = SEEDS) -> int:
    """The noise of a path."""
    return noise_key(seeds.run, seeds.step, question, path)


def questions(count: int = 1) -> list[Sample]:
    return [Sample(f"question {number}", "right", f"q{number}") for number in range(count)]


@dataclass
class Script:
    """Paths that do as they are told, in turns of three words that name path, turn and question.

    Attributes:
        calls: How many observations a path has before it answers, inherited ones included.
        entropies: The entropy of every token of a path's turn; turn 0 comes right after the question.
        size: Paths of a question.
        questions: Number of questions.
        seeds: Of the rollout.
    """

    calls: Callable[[int], int]
    entropies: Callable[[int, int], float] = lambda path, turn: 1.0
    size: int = 12
    questions: int = 1
    seeds: Seeds = SEEDS

    def __post_init__(self) -> None:
        self.who = {
            key_of(path, f"q{number}", self.seeds): (path, number)
            for number in range(self.questions)
            for path in range(self.size)
        }

    def policy(self, at: Place) -> int:
        path, question = self.who[at.key]
        ending = CALL if at.turn < self.calls(path) else ANSWER
        return [WORD + path, WORD + at.turn, WORD + question, ending][at.number]

    def entropy(self, at: Place) -> float:
        return self.entropies(self.who[at.key][0], at.turn)

    def generator(self, max_sequences: int = 1000) -> ToyGenerator:
        return ToyGenerator(self.policy, self.entropy, max_sequences)


class Impatient(selectors.DefaultSelector):
    """Nothing here waits for the outside: a loop that would sleep has come to a deadlock and must not hang a test."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None and timeout < 1000, "deadlock: everybody waits for somebody"
        return super().select(timeout)


def alone(main: Callable[[], Awaitable[T]]) -> T:
    """Run on an event loop of its own, which fails instead of sleeping."""
    loop = {"loop_factory": lambda: asyncio.SelectorEventLoop(Impatient())}
    return anyio.run(main, backend_options=loop)


def run(
    generator: ToyGenerator,
    rules: Exploration,
    samples: Sequence[Sample] | None = None,
    tools: Sequence[Tool] | None = None,
    limits: Limits = GENEROUS,
    state: ExplorationState | None = None,
    seeds: Seeds = SEEDS,
    on_tool_bug: OnToolBug = "stop",
    scorer: Scorer | None = None,
    on_format_error: OnFormatError = "end",
) -> list[Group]:
    """Explore, on one event loop from its beginning to its end."""
    known = {made.name: made for made in ([asking()] if tools is None else tools)}
    agent = Agent(
        generator,
        ToyProtocol(),
        known,
        limits,
        rules.entropy_window,
        rules.entropy_scale,
        on_tool_bug,
        on_format_error=on_format_error,
    )

    async def main() -> list[Group]:
        asked, start = questions() if samples is None else samples, state or rules.initial_state(VOCABULARY)
        return await explore(asked, agent, rules, start, seeds, scorer)

    return alone(main)
