"""`aepo.check_environment`: plays a few calls at random in two worlds at once, and finds what would spoil a rollout.

Both worlds are of one question and get the same calls, in turns, so all that they say must be equal. Then other worlds
are brought to where the first one was, as branches are, and go on as it did.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from inspect import iscoroutinefunction
from pathlib import Path

from aepo.environments.base import Environment
from aepo.environments.chance import draw_call
from aepo.environments.contract import methods_of
from aepo.environments.replay import SHOWN, Executed, difference, shown
from aepo.environments.session import Session
from aepo.process import event_loop, user_code
from aepo.tools.base import ToolBug, ToolMisconfigured
from aepo.types import Sample, ToolCall, ToolResult, ToolStatus

_log = logging.getLogger(__name__)

OWN_RANDOM = "it draws from the random numbers of the whole process: aepo.environment(..., own_random=True)"
SHARED = (
    "worlds change each other: keep what changes in self, not in the class, the module, a file or a service, or take "
    "aepo.environment(..., process=True)"
)
UNSEEDED = (
    "reset must set all that changes, in self: take `seed` and draw from random.Random(seed), read no clock and no "
    "other source of chance, share nothing with other worlds"
)
SNAPSHOT = "snapshot or restore forgets or shares something: copy all that changes, in both methods"
READ_ONLY = "leave methods that change something out of read_only"
LATE = "something is not reset, or time counts: set all that changes in reset, and read no clock"
CLOSE = "close must end within seconds and raise nothing; let go there of all that the world has opened"

GAMES = 5
"""Most games of one question; a game ends when its world is done."""
TRIES = 4
"""Calls that are drawn for one that fits."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with an environment.

    Attributes:
        what: What was seen.
        remedy: What to change.
    """

    what: str
    remedy: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.what}: {self.remedy}"


class _Found(Exception):
    """A fault was found; the check of the sample ends."""

    def __init__(self, what: str, remedy: str) -> None:
        self.fault = Fault(what, remedy)


@dataclass
class Checked:
    """What a check has seen.

    Attributes:
        faults: The first fault of each question, each once.
        tried: How often each method was called with drawn arguments.
        worked: How often such a call was not refused.
    """

    faults: list[Fault] = field(default_factory=list)
    tried: Counter[str] = field(default_factory=Counter)
    worked: Counter[str] = field(default_factory=Counter)

    @property
    def untested(self) -> str:
        """The methods that refused every call; what they do was not seen."""
        never = sorted(name for name in self.tried if not self.worked[name])
        return ", ".join(f"{name}: 0 of {self.tried[name]} calls succeeded" for name in never)


def check_environment(
    environment: Environment, samples: Sequence[Sample], calls: int = 20, seed: int = 0
) -> list[Fault]:
    """Find what makes an environment unfit for a rollout; it really makes the calls.

    Arguments are drawn from the words that questions, openings and results have. A method that refused every call is
    named in the log, because what it does was not tested.

    Args:
        environment: The environment.
        samples: Questions; a few are enough.
        calls: Calls in each world, with arguments at random. State that shows late needs more of them.
        seed: Seed of the calls.

    Returns:
        The first fault of each question, each once; empty if none was found.

    Raises:
        ValueError: `reset` takes what a sample does not have.
    """
    found = checked(environment, samples, calls, seed)
    if found.untested:
        _log.warning(
            "%s; what is refused is not tested: let reset or a result say the words that are taken, or raise calls",
            found.untested,
        )
    return found.faults


def checked(environment: Environment, samples: Sequence[Sample], calls: int, seed: int = 0) -> Checked:
    """What `check_environment` sees; arguments as there."""
    on_loop = iscoroutinefunction(environment.kind.reset)  # type: ignore[attr-defined]
    if environment.inline and not (on_loop or environment.own_random):
        # On the spot, what hangs would stop this check; in threads, limits hold.
        environment = replace(environment, inline=False)
    found = event_loop.run(_check, environment, samples, calls, seed)
    if found.faults:
        return found
    # What the first worlds have opened may be shared by all of them, such as a browser.
    before = _open_now()
    event_loop.run(_check, environment, samples, 1, seed)
    left = [kind for kind, number in (_open_now() - before).items() if number >= len(samples)]
    if left:
        found.faults.append(Fault(f"closed worlds leave {' and '.join(sorted(left))} open", CLOSE))
    return found


async def _check(environment: Environment, samples: Sequence[Sample], calls: int, seed: int) -> Checked:
    seen, found = Checked(), dict[Fault, None]()
    for sample in samples:
        try:
            await _check_question(environment, sample, calls, seed, seen)
        except _Found as one:
            found[one.fault] = None
    return replace(seen, faults=list(found))


async def _check_question(environment: Environment, sample: Sample, calls: int, seed: int, seen: Checked) -> None:
    made = 0
    for game in range(GAMES):
        check = _Game(environment, sample, calls - made, f"{seed} {game} {sample.id}")
        try:
            first = await check.twins(environment, True)
            for step in first.steps:
                seen.tried[step.call.name] += 1
                seen.worked[step.call.name] += step.result.status in (ToolStatus.OK, ToolStatus.DONE)
        except _Found as found:
            if found.fault.remedy != UNSEEDED:
                raise
            raise _Found(found.fault.what, await check.remedy()) from None
        made += len(first.steps)
        last = len(first.steps) - first.done
        for number in sorted({1, last // 2, last} & set(range(1, last + 1))):
            for _ in range(2):
                await check.branch(first, number)
        if made >= calls:
            return


class _Game:
    """Worlds of one question that get the same calls."""

    def __init__(self, environment: Environment, sample: Sample, calls: int, seed: str) -> None:
        self.environment, self.sample, self.calls, self.seed = environment, sample, calls, seed

    async def twins(self, environment: Environment, in_turns: bool) -> Session:
        """Play two worlds, in turns or one after another; raises the first difference."""
        # Each has openings of its own, so that a difference is found here and not in the rollout's way.
        one, other = (_fresh(environment, self.sample) for _ in range(2))
        try:
            await _open(one)
            if in_turns:
                await _open_alike(other, one)
            await self._play(one, other if in_turns else None)
            if not in_turns:
                await _open_alike(other, one)
                for step in one.steps:
                    await _same(other, step)
            if await _end(one) != await _end(other):
                raise _Found("get_reward or state differ after the same calls", UNSEEDED)
        finally:
            wrong = [await session.close() for session in (one, other)]
        if any(wrong):
            raise _Found(f"close {wrong[0] or wrong[1]}", CLOSE)
        return one

    async def _play(self, one: Session, other: Session | None) -> None:
        draw, texts = random.Random(self.seed), [self.sample.question, one.environment.openings[self.sample.id]]
        for _ in range(TRIES * self.calls):
            if len(one.steps) >= self.calls or one.done:
                return
            call = draw_call(draw, one.environment.tools, texts)
            result = await _ask(one, call)
            texts.append(result.text)
            if other is not None:
                await _same(other, Executed(call, result))
            if one.environment.snapshots:
                await one.keep()

    async def remedy(self) -> str:
        """Why twins in turns differ: play them in other ways."""
        is_async = any(iscoroutinefunction(method) for _, method in methods_of(self.environment.kind))
        own = replace(self.environment, own_random=True, inline=True)
        if not (is_async or self.environment.own_random) and await self._alike(own, True):
            return OWN_RANDOM
        return SHARED if await self._alike(self.environment, False) else UNSEEDED

    async def _alike(self, environment: Environment, in_turns: bool) -> bool:
        try:
            await self.twins(environment, in_turns)
        except _Found:
            return False
        return True

    async def branch(self, first: Session, number: int) -> None:
        """Bring a world to where the first one was after some calls, and go on as it did."""
        session = first.fork(number)
        session.pauses = ()
        environment = session.environment
        remedy = SNAPSHOT if environment.snapshots else READ_ONLY if environment.read_only else LATE
        try:
            await _open(session, remedy)
            for step in first.steps[number:]:
                await _same(session, step, remedy)
        finally:
            await session.close()


def _fresh(environment: Environment, sample: Sample) -> Session:
    session = Session(replace(environment, openings={}), sample)
    session.pauses = ()
    return session


async def _open(session: Session, remedy: str = LATE) -> None:
    session.hold()
    try:
        await session.open()
        await session.ready()
    except ToolBug as bug:
        raise _Found(str(bug), "a method of the contract must raise nothing") from bug
    except ToolMisconfigured as error:
        raise _Found(str(error), "look where reset waits, or raise reset_timeout") from error
    except ValueError:  # the samples do not fit the environment
        raise
    except Exception as error:
        raise _Found(f"a branch could not begin where it should: {error}", remedy) from error


async def _open_alike(session: Session, first: Session) -> None:
    await _open(session)
    said = [one.environment.openings[one.sample.id][:SHOWN] for one in (first, session)]
    if said[0] != said[1]:
        raise _Found(f"reset said {said[0]!r} and then {said[1]!r}", UNSEEDED)


async def _ask(session: Session, call: ToolCall) -> ToolResult:
    session.hold()
    try:
        result = await session.environment.by_name[call.name].call(call.arguments)
    except ToolBug as bug:
        remedy = 'raise aepo.ToolError for what the model may see, or aepo.environment(..., errors="tell")'
        raise _Found(f"{shown(call)} raised {user_code.told(bug.original)}", remedy) from bug
    if result.status is ToolStatus.TIMEOUT:
        raise _Found(f"{shown(call)} did not end in time", "aepo.environment(..., timeout=SECONDS), or a faster method")
    if result.status is ToolStatus.LOST:
        raise _Found(f"{shown(call)}: {result.text}", "opened again, it died once more: mend what ends it")
    session.note(call, result)
    return result


async def _same(session: Session, step: Executed, remedy: str = UNSEEDED) -> None:
    if (what := difference(step.result, await _ask(session, step.call))) is not None:
        raise _Found(f"{shown(step.call)} {what}", remedy)


async def _end(session: Session) -> tuple[float | None, object]:
    session.hold()
    try:
        return await session.end()
    except ToolBug as bug:
        raise _Found(str(bug), "get_reward gives one finite number, and state what JSON can hold") from bug


def _open_now() -> Counter[str]:
    """How many processes and files this process holds, where the system tells."""
    children: list[str] = []
    for task in Path("/proc/self/task").glob("*/children"):
        with suppress(FileNotFoundError):  # a thread that has ended meanwhile
            children += task.read_text().split()
    files = list(Path("/proc/self/fd").iterdir()) if Path("/proc/self/fd").is_dir() else []
    return Counter(processes=len(children), files=len(files))
