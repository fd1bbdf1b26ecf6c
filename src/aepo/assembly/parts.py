"""Puts together the parts of a run and checks them, before there is a run folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from aepo.assembly.policies import load_to_train
from aepo.config import Config
from aepo.engines.local.cpu.threads import fastest_threads
from aepo.engines.local.policy import LocalPolicy
from aepo.engines.stopping import decoder
from aepo.engines.writer import renewal_of
from aepo.equipment.agents import agents, scorer_of
from aepo.rollout.sampler import Sampler
from aepo.tasks.base import Task
from aepo.tools.limits import ToolBudget
from aepo.training.eight_bit import rule_of
from aepo.training.loop import Parts


def build(
    config: Config,
    task: Task,
    budget: ToolBudget | None = None,
    sampled_by: Callable[[LocalPolicy], Sampler] | None = None,
) -> tuple[LocalPolicy, Parts]:
    """Load the model, and put together the parts of its training.

    Args:
        config: The run's configuration.
        task: The task, whose tools paths call.
        budget: The limit on tool calls.
        sampled_by: Makes the policy's sampler; by default the policy samples for itself.

    Raises:
        ValueError: A part does not fit; the message says which.
    """
    policy = load_to_train(config)
    # Another number of threads rounds otherwise, so a deterministic run keeps its first choice.
    fixed = config.train.threads is not None or config.rollout.deterministic or policy.device.type != "cpu"
    held_out = task.held_out[: config.evaluation.questions]
    asked = [*task.samples, *held_out]
    sampler = policy.sampler if sampled_by is None else sampled_by(policy)
    agent, greedy = agents(policy, task, config, asked, sampler)
    if config.train.layout == "tree":
        policy.refuse_tree(agent.protocol.prompt(asked[0].question))
    # With overlap the rollout's engine stays open between steps, so evaluations need another one.
    aside = agents(policy, task, config, asked, sampler)[0] if config.rollout.overlap else agent
    scorer = scorer_of(task, config)
    if config.algorithm.needs_entropy and agent.generator.entropy_estimator == "none":
        raise ValueError(f"{config.algorithm.name} reads token entropies, and the engine gives none")
    if config.train.entropy_control.rule != "none" and agent.generator.entropy_estimator == "none":
        raise ValueError("train.entropy_control reads token entropies, and the engine gives none: set its rule to none")
    return policy, Parts(
        policy=policy,
        sampler=sampler,
        agent=agent,
        evaluation_agent=aside,
        greedy_agent=greedy,
        reference=policy.frozen() if config.algorithm.kl_weight > 0 else None,
        scorer=scorer,
        questions=task.samples,
        held_out=held_out,
        decode=decoder(policy.tokenizer),
        pad_token_id=policy.tokenizer.pad_token_id,
        vocab_size=len(policy.tokenizer),
        budget=budget,
        choose_threads=None if fixed else partial(fastest_threads, policy),
        rule=rule_of(config.train.optimizer, policy.device),
        instructions=renewal_of(config, policy, aside, scorer, task.samples),
    )
