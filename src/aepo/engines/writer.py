"""Who writes new instructions: the policy itself, or a model behind a server. And the parts that renew them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

from aepo.config import Config, ConfigError
from aepo.engines.openai.chat import ChatModel, found
from aepo.engines.openai.client import Endpoint, ServerError, ServerRefusal
from aepo.engines.stopping import decode
from aepo.equipment.agents import ReadPolicy
from aepo.instructions.frame import Frame
from aepo.instructions.population import Population
from aepo.instructions.renewal import Renewal, Writer, WriterError
from aepo.rollout.agent import Agent
from aepo.rollout.chat import make_protocol
from aepo.rollout.growing import Scorer
from aepo.tools.key import ApiKey
from aepo.types import Sample

WRITER_KEY = "AEPO_WRITER_KEY"
"""The environment variable with the key of a writer's server; if it is not set, no key is sent."""


def renewal_of(
    config: Config, policy: ReadPolicy, agent: Agent, scorer: Scorer, questions: Sequence[Sample]
) -> Renewal | None:
    """Make what renews the instructions; None if a run has none.

    Args:
        config: The run's configuration.
        policy: The policy; its instruction is the task's own.
        agent: Grows the trajectories that try new instructions.
        scorer: Scores those.
        questions: The training questions.

    Raises:
        ConfigError: A text cannot be an instruction, or the writer cannot be used.
    """
    settings, words = config.instructions, policy.tokenizer
    if not settings.enabled:
        return None
    agents = list(agent.by_environment.values()) or [agent]
    tools = [tool for one in agents for tool in one.tools.values()]
    frame = Frame([one.protocol for one in agents], tools, settings.max_tokens)
    first = Population.begun(settings, policy.instruction, frame)
    by_policy = settings.writer == "policy"
    writer = _by_policy(config, policy, agent, questions) if by_policy else _by_server(settings.writer)
    encode = partial(words.encode, add_special_tokens=False)
    return Renewal(first, frame, writer, questions, agent, scorer, partial(decode, words), encode, config.seed)


def _by_policy(config: Config, policy: ReadPolicy, agent: Agent, questions: Sequence[Sample]) -> Writer:
    """The policy writes, in the room that a trajectory has; it reads as many failures as fit."""
    rollout, most = config.rollout, config.instructions.max_tokens
    try:
        protocol = make_protocol("chat", policy.tokenizer, (), "", rollout.date, policy.ends, rollout.template)
    except ValueError as error:
        raise ConfigError(f"instructions.writer is policy, and it cannot write: {error}; name a server") from error
    room = len(agent.of(questions[0]).prompt(questions[0], "")) + rollout.max_tokens - most

    async def write(requests: Sequence[str], key: int) -> str:
        prompt = next((ids for text in requests if len(ids := protocol.prompt(text)) <= room), None)
        if prompt is None:
            raise WriterError(
                f"the request does not fit into {room} tokens; raise rollout.max_tokens, or name a server"
            )
        async with agent.generator as generator:
            sequence = generator.open(prompt, key)
            try:
                sampled = await generator.sample(sequence, most, protocol.stop)
            finally:
                generator.close(sequence)
        if not sampled.stopped:
            raise WriterError(f"the policy did not end its reply within {most} tokens (instructions.max_tokens)")
        return protocol.parse(sampled.tokens).answer or ""

    return write


def _by_server(name: str) -> Writer:
    """A model behind a server writes; it is looked for at the first request, and again after a failure."""
    model, _, url = name.rpartition("@")
    try:
        endpoint = Endpoint(url, ApiKey(WRITER_KEY) if os.environ.get(WRITER_KEY) else None)
    except ValueError as error:
        raise ConfigError(f"instructions.writer is {name!r}: {error}") from None
    known: list[ChatModel] = []

    async def write(requests: Sequence[str], key: int) -> str:
        try:
            if not known:
                known.append(await found(endpoint, model or None, "instructions.writer: MODEL@" + url))
            return await known[0].ask(requests[0])
        except (ServerError, ServerRefusal, ValueError) as error:
            raise WriterError(str(error)) from error

    return write
