"""What a rollout knows of an environment: how to make its worlds, its tools, and what went wrong in it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from aepo.environments.contract import has, reset_arguments
from aepo.environments.incidents import Incidents
from aepo.tools.base import Tool
from aepo.types import Sample

OnException = Literal["bug", "tell"]


class WorldTools(NamedTuple):
    """What a world tells, as tools whose results can be kept; they take the session from `current`.

    Attributes:
        opening: The opening text of a question.
        looking: The state before the end.
        ending: Outcome and state at the end.
        refusal: Why a branch was refused.
    """

    opening: Tool
    looking: Tool
    ending: Tool
    refusal: Tool


@dataclass(frozen=True)
class Environment:
    """Makes the worlds of trajectories; `aepo.environment` builds it.

    Attributes:
        factory: Makes one world, not reset; usually the class.
        kind: The class of the worlds.
        name: The name in messages and records.
        tools: The public methods of the class.
        max_open: Worlds that may be open at once in a rollout.
        inline: Call sync methods on the spot instead of in a thread of the world.
        reset_timeout: Seconds to make a world and to reset it.
        own_random: Give each world its own stream of the process's `random`, and of NumPy's if it is loaded.
        errors: "bug" stops the run at an exception that is no `ToolError`, by the rules of `rollout.on_tool_bug`;
            "tell" tells the model any exception.
        read_only: Methods that change nothing; a replay leaves them out.
        sandboxed: Whether its calls change nothing outside of the world.
        told: What a world tells beside the results of its tools.
        replayed: Whether all results come from a recording, so that no world is ever made.
        openings: The opening text of each question that was reset, by sample id.
        incidents: What went wrong in the worlds.
    """

    factory: Callable[[], Any]
    kind: type
    name: str
    tools: tuple[Tool, ...]
    max_open: int
    inline: bool
    reset_timeout: float
    own_random: bool
    errors: OnException
    read_only: frozenset[str]
    sandboxed: bool
    told: WorldTools = field(repr=False)
    replayed: bool = False
    openings: dict[str, str] = field(default_factory=dict, compare=False, repr=False)
    incidents: Incidents = field(default_factory=Incidents, compare=False, repr=False)

    @functools.cached_property
    def by_name(self) -> Mapping[str, Tool]:
        """The tools by name."""
        return {tool.name: tool for tool in self.tools}

    @property
    def snapshots(self) -> bool:
        """Whether states can be kept."""
        return has(self.kind, "snapshot")

    @property
    def rewards(self) -> bool:
        """Whether a world says what its last state is worth."""
        return has(self.kind, "get_reward")

    def named(self, name: str) -> Environment:
        """The same under another name."""
        tools, told = ([replace(tool, environment=name) for tool in all_of] for all_of in (self.tools, self.told))
        return replace(self, name=name, tools=tuple(tools), told=WorldTools(*told))

    def kept_by(self, keep: Callable[[Tool], Tool], replayed: bool) -> Environment:
        """The same with openings, states, endings and refusals that are kept and answered as results of tools are.

        Args:
            keep: Makes a tool whose results are kept.
            replayed: Whether all results come from a recording.
        """
        return replace(
            self, told=WorldTools(*map(keep, self.told)), replayed=replayed, openings={}, incidents=Incidents()
        )

    def arguments(self, sample: Sample) -> dict[str, Any]:
        """What `reset` is called with.

        Raises:
            ValueError: It needs something that the sample does not have.
        """
        return reset_arguments(self.kind, sample)
