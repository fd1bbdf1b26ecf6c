"""The world of one trajectory: opened, called, and brought to where another trajectory was.

A trajectory that begins inside another one needs the state that the other world had there. It gets a new world, which
is reset and makes the same calls again; each of them must give what it gave before. If the class has `snapshot` and
`restore`, the newest kept state is restored instead, and only the calls after it are made again.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from aepo.environments.contract import Diverged, EnvironmentLost
from aepo.environments.replay import SHOWN, Executed, history_of, make_again
from aepo.environments.snapshots import Snapshots
from aepo.environments.world import EnvironmentBug, LiveWorld
from aepo.files.json_data import problem
from aepo.process import user_code
from aepo.tools.base import BadArguments, ToolLost, ToolMisconfigured, as_text, clean
from aepo.tools.cache.layer import ReplayError, history
from aepo.tools.counts import count
from aepo.types import Sample, ToolCall, ToolError, ToolResult, ToolStatus

if TYPE_CHECKING:
    from aepo.environments.base import Environment

T = TypeVar("T")

current: ContextVar[Session] = ContextVar("session")
"""The session of the trajectory that makes a call."""

MOST_SHOWN = 250_000
"""Most characters of a state that is kept, as JSON; a picture of a page has fewer."""


class Session:
    """The world of one trajectory.

    Attributes:
        environment: Makes it.
        sample: The question.
        steps: The executed calls of the trajectory, inherited ones included.
        snapshots: The kept states.
        done: Whether nothing more can be done.
        lost: Whether the world has died, or a call left it in a state that nobody knows.
        refused: Why the world did not come to where the trajectory should begin; "" if it did.
        pauses: Seconds between the tries to open a world that is lost meanwhile.
    """

    pauses: tuple[float, ...] = (0.2, 1.0)

    def __init__(
        self,
        environment: Environment,
        sample: Sample,
        steps: Sequence[Executed] = (),
        snapshots: Snapshots | None = None,
    ) -> None:
        """Nothing is opened yet."""
        self.environment, self.sample = environment, sample
        self.steps, self.snapshots = list(steps), snapshots or Snapshots()
        self.done = False
        self._world: LiveWorld | None = None
        self._gone = 0
        """The world has gone through so many of the steps."""
        self.lost = self._ran = self._replaying = False
        self._opened, self.refused = anyio.Event(), ""

    def fork(self, calls: int) -> Session:
        """The session of a trajectory that begins after the first `calls` calls of this one."""
        return Session(self.environment, self.sample, self.steps[:calls], self.snapshots.until(calls))

    def hold(self) -> None:
        """Let the calls that this task makes from now on go to this world."""
        current.set(self)
        history.set(lambda: history_of(self.steps))

    async def open(self) -> None:
        """Make the world and bring it to where the trajectory begins. Whoever needs it waits in `ready`.

        Raises:
            EnvironmentBug: A method raised an exception.
            ToolMisconfigured: It cannot be opened, or its opening text is another one than before.
        """
        try:
            if self.environment.replayed:
                await self._refused_before()
            else:
                await self._open()
        except (Diverged, EnvironmentLost) as why:
            if not self.steps:
                raise ToolMisconfigured(f"{self._name} cannot be opened: {why}") from why
            self.refused = user_code.told(why)
            # Kept, so that a replay refuses it too.
            await self.environment.told.refusal.call({})
        self._opened.set()

    async def ready(self) -> None:
        """Wait for `open`.

        Raises:
            Diverged: The world did not come to where the trajectory begins.
        """
        if not self._opened.is_set():
            await self._opened.wait()
        if self.refused:
            raise Diverged(self.refused)

    async def call(self, name: str, values: Mapping[str, Any]) -> Any:
        """Call a method. A world that dies is opened again by replay, once, and the call is repeated.

        Raises:
            ToolError: The model is told.
            BadArguments: The world has come to its end with an earlier call of the turn.
            ToolLost: The world died, and could not be opened again.
            Exception: The method raised it.
        """
        if self._replaying:
            return await self._told(name, values)
        if self.lost or self.done:
            # A call that is not made is no part of what the world has gone through.
            raise BadArguments("not called, because nothing more can be done")
        self._ran = True
        try:
            return await self._lasting(lambda: self._told(name, values))
        except ToolLost:
            self.lost = True
            raise
        except ToolError:
            raise
        except BaseException:
            # A bug or a timeout: nobody knows what it left behind.
            self.lost = True
            raise

    def note(self, call: ToolCall, result: ToolResult) -> None:
        """Take note of a call that was answered, by the world or by a kept result."""
        if result.executed:
            self._gone += self._ran and self._gone == len(self.steps)
            self.steps.append(Executed(call, result))
        self._ran = False

    async def keep(self) -> None:
        """Keep the state, for trajectories that may begin here; a world that dies meanwhile keeps none.

        Raises:
            EnvironmentBug: `snapshot` raised an exception.
        """
        world, seconds = self._world, self.environment.reset_timeout
        if world is None or not self.environment.snapshots or self._gone < len(self.steps):
            return
        began = perf_counter()
        with suppress(EnvironmentLost), anyio.move_on_after(seconds) as scope:
            state = await world.own("snapshot"), world.random.state
            self.snapshots.keep(self._gone, state)
            count("environment/snapshots")
        count("environment/snapshot_seconds", perf_counter() - began)
        if scope.cancelled_caught:
            self.lost = True
            self._tell(f": snapshot did not end within {seconds:g} s")

    async def end(self) -> tuple[float | None, Any]:
        """Outcome and state at the end, kept and replayed as the results of calls are."""
        result = await self.environment.told.ending.call({})
        if result.status is ToolStatus.OK:
            return json.loads(result.text)["outcome"], _state(result.text)
        self._tell(f", at its end: {result.text}")
        return self._worthless, None

    async def look(self) -> Any:
        """The state now, kept and replayed as the results of calls are; None if the world was lost."""
        result = await self.environment.told.looking.call({})
        if result.status is not ToolStatus.OK:
            self._tell(f": {result.text}")
            self.lost = True
            return None
        return _state(result.text)

    async def looked(self) -> dict[str, Any]:
        """Ask the world for its state; errors as `ending`."""
        return await self._lasting(self._seen)

    async def ending(self) -> dict[str, Any]:
        """Ask the world for outcome and state.

        Raises:
            ToolLost: The world died, and could not be opened again.
            EnvironmentBug: A method raised an exception.
        """
        if self.lost:
            return {"outcome": self._worthless, "state": None}
        return await self._lasting(self._asked)

    async def close(self) -> str | None:
        """Close the world, whatever happens; returns what went wrong."""
        if self._world is None:
            return None
        wrong = await self._world.close()
        self._world = None
        return wrong

    async def _refused_before(self) -> None:
        """Refuse the trajectory if the recording has that it was refused."""
        with suppress(ReplayError):
            self.refused = (await self.environment.told.refusal.call({})).text if self.steps else ""

    # Opening and replay.

    async def _open(self) -> None:
        for pause in (*self.pauses, None):
            began, token = perf_counter(), current.set(self)
            try:
                return await self._try_to_open()
            except EnvironmentLost as why:
                self._tell(f", while it was opened: {why}")
                await self.close()
                if pause is None:
                    raise
                await anyio.sleep(pause)
            except BaseException:
                await self.close()
                raise
            finally:
                current.reset(token)
                count("environment/open_seconds", perf_counter() - began)

    async def _try_to_open(self) -> None:
        world = self._world = LiveWorld(self.environment, self.sample)
        self.done, self._gone = False, self.snapshots.newest
        seconds = self.environment.reset_timeout
        with anyio.move_on_after(seconds) as scope:
            await world.make()
            if (kept := self.snapshots.find(self._gone)) is not None:
                state, world.random.state = kept
                await world.own("restore", state)
                count("environment/restored")
            else:
                self._compare(await world.own("reset", **self.environment.arguments(self.sample)))
        if scope.cancelled_caught:
            raise EnvironmentLost(f"reset did not end within {seconds:g} s (reset_timeout)")
        await self._catch_up()

    def _compare(self, said: Any) -> None:
        text = "" if said is None else clean(as_text(said))
        before = self.environment.openings.setdefault(self.sample.id, text)
        if before != text:
            raise ToolMisconfigured(
                f"reset of {self._name} said {text[:SHOWN]!r}, and before {before[:SHOWN]!r}: all worlds of a question "
                "must begin alike; take `seed` in reset and draw from random.Random(seed)"
            )

    async def _catch_up(self) -> None:
        """Make the calls that the world has not gone through."""
        self._replaying = True
        try:
            for step in self.steps[self._gone :]:
                await make_again(self.environment, step)
                self._gone += 1
        finally:
            self._replaying = False

    # Calls.

    async def _lasting(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the world; if it dies, ask once more in a world that is opened again."""
        try:
            try:
                await self._catch_up()
                return await ask()
            except EnvironmentLost as why:
                self._tell(f": {why}")
                await self.close()
                await self._open()
                count("environment/recovered")
                return await ask()
        except (EnvironmentLost, Diverged) as why:
            raise ToolLost(f"the world was lost: {why}") from why

    async def _told(self, name: str, values: Mapping[str, Any]) -> Any:
        assert self._world is not None
        try:
            value: Any = await self._world.call(name, **values)
            error = None
        except ToolError as told:
            error = told
        except EnvironmentLost:
            raise
        except Exception as raised:
            if self.environment.errors == "bug":
                raise
            error = ToolError(user_code.told(user_code.original(raised)))
        self.done = bool(await self._world.read("done"))
        if error is not None:
            raise error
        return value

    async def _asked(self) -> dict[str, Any]:
        world = self._world
        assert world is not None
        outcome = await world.own("get_reward") if self.environment.rewards else None
        if hasattr(outcome, "item"):
            outcome = outcome.item()  # a number of NumPy or torch
        if self.environment.rewards and not isinstance(outcome, int | float):
            raise self._bug(f"get_reward gave {outcome!r}, which is no number")
        found = self._plain({"outcome": outcome, "state": await world.read("state")})
        return found if outcome is None else {**found, "outcome": float(outcome)}

    async def _seen(self) -> dict[str, Any]:
        assert self._world is not None
        return self._plain({"state": await self._world.read("state")})

    def _plain(self, found: dict[str, Any]) -> dict[str, Any]:
        if (wrong := problem(found, "it")) is not None:
            raise self._bug(wrong)
        return found

    def _bug(self, wrong: str) -> EnvironmentBug:
        return EnvironmentBug(self.environment.kind.__name__, self.sample.id, ValueError(wrong))

    @property
    def _worthless(self) -> float | None:
        return 0.0 if self.environment.rewards else None

    @property
    def _name(self) -> str:
        return f"environment {self.environment.name} of sample {self.sample.id!r}"

    def _tell(self, what: str) -> None:
        self.environment.incidents.tell("lost", f"{self._name}{what}")


def _state(text: str) -> Any:
    """The state that a world has told; in place of one that is too large, a note."""
    return json.loads(text)["state"] if len(text) <= MOST_SHOWN else f"(too large to keep: {len(text)} characters)"
