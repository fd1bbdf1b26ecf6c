"""Tool calls of the policy and their results."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ToolError(Exception):
    """An error that the model may see and react to: a bad argument, nothing found, a service that is down.

    The model sees no other exception; any other one that a tool raises is a bug in the tool.
    """


@dataclass(frozen=True)
class ToolCall:
    """A tool call of the policy.

    Attributes:
        name: The tool.
        arguments: By parameter name.
        error: Why the call cannot be run (unknown tool, arguments that do not parse); the model is told this.
    """

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


class ToolStatus(StrEnum):
    """How a tool call ended."""

    OK = "ok"
    ERROR = "error"
    """The tool raised `ToolError`."""
    BAD_ARGUMENTS = "bad_arguments"
    """Unknown tool, or arguments that do not fit its signature; the tool was not called."""
    TIMEOUT = "timeout"
    BUG = "bug"
    """The tool raised another exception, and the run goes on (`on_tool_bug: tell`)."""
    DONE = "done"
    """The call worked, and the environment said that nothing more can be done."""
    LOST = "lost"
    """The environment died, and could not be brought back."""


@dataclass(frozen=True)
class ToolResult:
    """The result of a tool call.

    Attributes:
        text: The text that the model reads.
        status: How the call ended.
        seconds: Duration of the call.
        repeated: Whether this is the earlier result of an equal call in the trajectory.
        cut: Whether the text was cut so that it fits into the trajectory's tokens.
    """

    text: str
    status: ToolStatus = ToolStatus.OK
    seconds: float = field(default=0.0, compare=False)
    repeated: bool = False
    cut: bool = False

    @property
    def worked(self) -> bool:
        """Whether the call did what was asked."""
        return self.status in (ToolStatus.OK, ToolStatus.DONE)

    @property
    def executed(self) -> bool:
        """Whether the tool was called: the arguments fitted, and no earlier result was reused."""
        return self.status is not ToolStatus.BAD_ARGUMENTS and not self.repeated
