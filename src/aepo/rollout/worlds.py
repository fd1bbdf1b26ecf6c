"""The worlds of a rollout: the opening text of each question, and the sessions of the paths of one question."""

from __future__ import annotations

import anyio

from aepo.environments.base import Environment
from aepo.environments.session import Session
from aepo.rollout.path import Path
from aepo.tools.cache.layer import trajectory
from aepo.types import Kind, Node, Sample


async def know_opening(environment: Environment, sample: Sample) -> None:
    """Ask a world for the opening text of a question, unless it is known.

    Raises:
        ToolBug: A method of the environment raised an exception.
        ToolMisconfigured: The world cannot be opened.
    """
    if sample.id in environment.openings:
        return
    session = Session(environment, sample)
    session.hold()
    trajectory.set(f"opening of {sample.id}")
    try:
        result = await environment.told.opening.call({})
    finally:
        await session.close()
    environment.openings.setdefault(sample.id, result.text)


class Worlds:
    """The sessions of the paths of one question, whose opening must be known."""

    def __init__(self, environment: Environment, sample: Sample) -> None:
        """Nothing is open."""
        self.environment, self.sample = environment, sample
        self._sessions: dict[int, Session] = {}

    @property
    def opening(self) -> str:
        """The text with which they begin."""
        return self.environment.openings[self.sample.id]

    def refuse(self, why: str) -> None:
        """Count a branch that cannot begin where it should, and tell of the first ones."""
        line = f"a branch of sample {self.sample.id!r} begins at the question instead: {why}"
        self.environment.incidents.refuse(self.environment.name, line)

    def enter(self, path: Path, before: list[Node]) -> Session:
        """The session of a path that begins. It must be opened.

        Args:
            path: The path.
            before: The nodes of its walk so far.
        """
        if path.parent is None:
            session = Session(self.environment, self.sample)
        else:
            session = self._sessions[path.parent].fork(self._calls(before))
            self.environment.incidents.begun += 1
        self._sessions[path.id] = path.session = session
        return session

    def let_go(self, path: Path, before: list[Node]) -> None:
        """No path will begin inside this one after the nodes `before`: its state there is not needed any more."""
        if path.session is not None:
            path.session.snapshots.let_go(self._calls(before))

    def _calls(self, walk: list[Node]) -> int:
        """How many calls to the world a walk has."""
        asked = [call for node in walk if node.kind is Kind.POLICY for call in node.calls]
        results = [result for node in walk for result in node.results]
        # The calls of the last turn may have no results yet; those of a resampled turn are not in the walk.
        pairs = zip(asked, results, strict=False)
        return sum(result.executed and call.name in self.environment.by_name for call, result in pairs)

    async def close(self) -> None:
        """Close all worlds and forget the kept states."""
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                for session in self._sessions.values():
                    session.snapshots.clear()
                    tasks.start_soon(session.close)
