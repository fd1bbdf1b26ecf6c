"""Makes the agents of a task from a configuration: chat protocol, tools and limits on an engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from aepo.config import Config, ConfigError
from aepo.rewards.score import RewardScorer
from aepo.rollout.agent import Agent
from aepo.rollout.chat import Tokenizer, make_protocol
from aepo.rollout.generator import GeneratorSettings, Stop, TooLong
from aepo.rollout.path import Limits
from aepo.tasks.base import Task
from aepo.tools.base import Tool
from aepo.types import Sample

if TYPE_CHECKING:
    from aepo.rollout.chat import ChatProtocol
    from aepo.rollout.generator import Generator
    from aepo.rollout.sampler import Sampler


class ReadPolicy(Protocol):
    """What the files of a policy say of it.

    Attributes:
        tokenizer: Its tokenizer.
        ends: The ends of a turn that the model declares.
        instruction: The text above the system text that it was trained under; empty for none.
    """

    tokenizer: Tokenizer
    ends: Stop
    instruction: str


class SampledPolicy(ReadPolicy, Protocol):
    """A policy that can be sampled from: `LocalPolicy`, or `ServerPolicy` of a server.

    Attributes:
        sampler: Gives engines over it.
    """

    sampler: Any


def agents(
    policy: SampledPolicy,
    task: Task,
    config: Config,
    questions: Sequence[Sample],
    sampler: Sampler | None = None,
) -> tuple[Agent, Agent]:
    """Make a sampling and a greedy agent for a task.

    Args:
        policy: The policy, which writes the turns.
        task: The task, whose tools paths call.
        config: The configuration, with limits and the algorithm's rules.
        questions: The questions, to find the longest prompt.
        sampler: Samples for the policy; by default the policy's own sampler.

    Raises:
        ValueError: The chat template or a tool does not fit the protocol, prompts are too long for the model, or a
            server does not support the settings.
    """
    rollout, algorithm = config.rollout, config.algorithm
    rules = algorithm.exploration()
    controlled = config.train.entropy_control.rule != "none"
    every = algorithm.needs_every_entropy or rules.entropy_scale == "reference" or controlled
    within = None if every else rules.entropy_window if algorithm.needs_entropy else 0
    protocols = protocols_of(task, config, policy.tokenizer, policy.ends)
    told = policy.instruction
    longest = max(
        len(
            protocols[task.environment_of(one)].prompt(
                one.question, told if one.instruction is None else one.instruction
            )
        )
        for one in questions
    )
    room = room_for_instructions(config)
    longest += room
    longest += rollout.max_opening_tokens if task.environments else 0
    # A deterministic engine only grows whole groups, so it needs room for one.
    least = algorithm.group_size if rollout.deterministic else 1

    def agent(greedy: bool) -> Agent:
        settings = GeneratorSettings(
            temperature=rollout.temperature,
            max_sequences=max(rollout.max_sequences, least),
            max_length=longest + rollout.max_tokens,
            deterministic=rollout.deterministic,
            greedy=greedy,
            reference_entropy=rules.entropy_scale == "reference",
            entropies_within=within,
        )
        try:
            generator = (sampler or policy.sampler).generator(settings)
        except TooLong as error:
            if not room:
                raise
            way_out = f"or lower instructions.max_tokens, which takes {room} of these tokens"
            raise ConfigError(f"{error}, {way_out}") from None
        return agent_over(generator, protocols, task, config, told)

    return agent(False), agent(True)


def protocols_of(task: Task, config: Config, tokenizer: Tokenizer, ends: Stop) -> dict[str, ChatProtocol]:
    """Make the chat protocols of a task, by environment; by "" without one.

    Args:
        task: The task, whose tools the model is told of.
        config: The configuration.
        tokenizer: The policy's tokenizer.
        ends: The ends of a turn that the model declares.

    Raises:
        ValueError: The chat template or a tool does not fit the protocol.
    """
    rollout = config.rollout
    return {
        name: make_protocol(
            rollout.protocol,
            tokenizer,
            tools,
            task.system,
            rollout.date,
            ends,
            rollout.template,
            task.describe,
            task.examples_with(tools),
        )
        for name, tools in shown(task).items()
    }


def shown(task: Task) -> dict[str, tuple[Tool, ...]]:
    """The tools that a prompt shows, by environment; by "" without one."""
    return {name: task.tools_of(name) for name in task.environments or {"": None}}


def room_for_instructions(config: Config) -> int:
    """The tokens that an instruction of the run may add to a prompt."""
    return config.instructions.max_tokens if config.instructions.enabled else 0


def agent_over(
    generator: Generator, protocols: Mapping[str, ChatProtocol], task: Task, config: Config, instruction: str = ""
) -> Agent:
    """Make the agent that grows paths on an engine, by the rules of a configuration.

    Args:
        generator: The engine.
        protocols: The chat protocols for the tools of `shown`, by the same names.
        task: The task, whose tools paths call.
        config: The configuration.
        instruction: The text above the system text of a question that names none.
    """
    rules, rollout = config.algorithm.exploration(), config.rollout
    made = {
        name: Agent(
            generator,
            protocols[name],
            {tool.name: tool for tool in tools},
            Limits(rollout.max_tokens, rollout.max_tool_calls, rollout.max_seconds, rollout.max_opening_tokens),
            rules.entropy_window,
            rules.entropy_scale,
            rollout.on_tool_bug,
            config.tools.repeat,
            rollout.on_format_error,
            task.environments.get(name),
            rollout.keep_states,
            instruction,
        )
        for name, tools in shown(task).items()
    }
    first = next(iter(made.values()))
    first.by_environment = made if len(made) > 1 else {}
    return first


def scorer_of(task: Task, config: Config) -> RewardScorer:
    """Make the scorer of a task's trajectories.

    Raises:
        ValueError: The task has no reward.
    """
    if task.reward is None:
        raise ValueError(f"task {task.name!r} has no reward: give it a function of (sample, trajectory)")
    return RewardScorer(task.reward, config.rewards.concurrency)
