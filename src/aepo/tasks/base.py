"""A task: questions, tools and a reward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aepo.rewards.base import Reward
from aepo.tasks.checks import check_held_out, checked
from aepo.tools.base import Tool
from aepo.types import Sample


@dataclass(frozen=True)
class Task:
    """Questions, tools and reward to train or to evaluate a policy.

    Attributes:
        name: Shown in reports.
        samples: The questions to train on, any iterable; those without an id are numbered.
        tools: `aepo.tool` functions.
        reward: Takes (sample, trajectory) and returns a finite number.
        held_out: Questions for evaluation, which training does not use; may be empty.
        system: System message; None is the protocol's own, which describes the tools; "" sends none.

    Raises:
        ValueError: There are no samples, one of them cannot be used (the message says which and why), two share an id,
            or a tool is a plain function.
    """

    name: str
    samples: Sequence[Sample]
    tools: Sequence[Tool] = ()
    reward: Reward | None = None
    held_out: Sequence[Sample] = field(default=())
    system: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", checked(self.samples, f"{self.name}-", f"task {self.name!r}"))
        if not self.samples:
            raise ValueError(f"task {self.name!r} has no samples")
        object.__setattr__(self, "tools", tuple(self.tools))
        for tool in self.tools:
            if not isinstance(tool, Tool):
                name = getattr(tool, "__name__", tool)
                raise ValueError(f"tool {name!r} of task {self.name!r}: decorate it with @aepo.tool")
        held_out = checked(self.held_out, f"{self.name}-held-out-", f"task {self.name!r}, held_out")
        object.__setattr__(self, "held_out", held_out)
        check_held_out(self.samples, held_out, f"task {self.name!r}")
