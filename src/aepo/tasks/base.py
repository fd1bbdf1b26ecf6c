"""A task: questions, tools and a reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aepo.environments.base import Environment
from aepo.rewards.base import Reward
from aepo.rewards.outcome import outcome
from aepo.tasks.checks import check_environments, check_examples, check_held_out, checked
from aepo.tools.base import Tool
from aepo.types import Example, Sample


@dataclass(frozen=True)
class Task:
    """Questions, tools and reward to train or to evaluate a policy.

    Attributes:
        name: Shown in reports.
        samples: The questions to train on, any iterable; those without an id are numbered.
        tools: `aepo.tool` functions.
        reward: Takes (sample, trajectory) and returns a finite number.
        held_out: Questions for evaluation, which training does not use; may be empty.
        system: System message, under which the protocol describes tools and format. None is that description alone, ""
            sends no system message.
        environment: The environment of the trajectories, made by `aepo.environment`, or several by name; then each
            sample names one as `metadata["environment"]`. Its methods become tools, and without a reward its
            `get_reward` gives the reward.
        describe: Whether the protocol describes tools and format to the model. False: it reads `system` alone.
        examples: Solved questions that every prompt shows before the real one.

    Raises:
        ValueError: There are no samples, one of them cannot be used (the message says which and why), two share an id,
            a tool is a plain function, two tools have one name, a sample does not fit the environment, or an example
            calls a tool that the task does not have.
    """

    name: str
    samples: Sequence[Sample]
    tools: Sequence[Tool] = ()
    reward: Reward | None = None
    held_out: Sequence[Sample] = field(default=())
    system: str | None = None
    environment: Environment | Mapping[str, Environment] | None = None
    describe: bool = True
    examples: Sequence[Example] = field(default=())

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
        if self.environment is not None:
            self._fit_environments()
        object.__setattr__(self, "examples", tuple(self.examples))
        check_examples(self.examples, [tool.name for tool in self.tools], f"task {self.name!r}")

    @property
    def environments(self) -> dict[str, Environment]:
        """The environments by name; empty without any."""
        given = self.environment
        if given is None:
            return {}
        return {given.name: given} if isinstance(given, Environment) else dict(given)

    def environment_of(self, sample: Sample) -> str:
        """The name of the environment of a question; "" without one."""
        made = self.environments
        return str(sample.metadata.get("environment")) if len(made) > 1 else next(iter(made), "")

    def tools_of(self, environment: str) -> tuple[Tool, ...]:
        """The tools that a question of an environment may use: the task's own and those of the environment."""
        return tuple(tool for tool in self.tools if tool.environment in ("", environment))

    def examples_with(self, tools: Sequence[Tool]) -> tuple[Example, ...]:
        """The examples that call no other tools than these."""
        names = {tool.name for tool in tools}
        return tuple(one for one in self.examples if all(call.name in names for call, _ in one.calls))

    def _fit_environments(self) -> None:
        given = self.environment
        for one in given.values() if isinstance(given, Mapping) else [given]:
            if not isinstance(one, Environment):
                raise ValueError(f"task {self.name!r}: the environment is no aepo.environment(...), but {one!r}")
        made = self.environments
        if not made:
            raise ValueError(f"task {self.name!r}: environment names none: leave it out, or give one")
        if not isinstance(self.environment, Environment):
            made = {name: environment.named(name) for name, environment in made.items()}
            object.__setattr__(self, "environment", made)
        # A task that is copied with other settings has the tools of its environments already.
        own = [tool for tool in self.tools if not tool.environment]
        methods = [tool for environment in made.values() for tool in environment.tools]
        object.__setattr__(self, "tools", (*own, *methods))
        check_environments([*self.samples, *self.held_out], self.environment_of, made, f"task {self.name!r}")
        for name in made:
            names = [tool.name for tool in self.tools_of(name)]
            if twice := next((one for one in names if names.count(one) > 1), None):
                raise ValueError(f"task {self.name!r} has two tools {twice!r}: rename one of them")
        if self.reward is None and all(environment.rewards for environment in made.values()):
            object.__setattr__(self, "reward", outcome)
