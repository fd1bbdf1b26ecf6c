"""Measures the methods of a configuration on its own task and model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from aepo import tasks
from aepo.assembly.parts import build
from aepo.config import Config, ConfigError
from aepo.equipment.agents import agents
from aepo.equipment.models import started_from
from aepo.equipment.tools import equip
from aepo.gradient.measure import Amount, Gradients, Instrument
from aepo.gradient.methods import GradientMethod


def measure(
    config: Config,
    methods: Sequence[GradientMethod],
    amount: Amount,
    tell: Callable[[str], None],
    *,
    held_out: bool = False,
) -> Gradients:
    """Sample with the configuration's model on questions of its task, and take each method's gradient.

    Nothing is trained and nothing is written.

    Args:
        config: Model, task and rollout.
        methods: The methods; the first is the reference.
        amount: How much is sampled.
        tell: Called with one line after each round.
        held_out: Ask the questions of the evaluation, not those of training.

    Raises:
        ValueError: Something does not fit, or time was too short.
    """
    if config.engine != "local":
        raise ConfigError(f"gradients are taken where the policy is trained: set engine: local, not {config.engine}")
    config = started_from(config)
    task = tasks.load(config.task.name, config.task.options)
    equipment = equip(config, task.tools)
    if equipment.store is not None and config.tools.cache is None and not Path(config.run).is_dir():
        raise ConfigError("a measurement keeps tool results where it is told: give tools.cache a file")
    equipped = equipment.of(task)
    policy, parts = build(config, equipped, equipment.budget)
    asked = [*task.samples, *parts.held_out]
    instrument = Instrument(
        policy=policy,
        agent=lambda algorithm: agents(policy, equipped, config.model_copy(update={"algorithm": algorithm}), asked)[0],
        scorer=parts.scorer,
        questions=parts.held_out if held_out else parts.questions,
        settings=config.train,
        pad_token_id=parts.pad_token_id,
        max_tokens=config.rollout.max_tokens,
        temperature=config.rollout.temperature,
        vocab_size=parts.vocab_size,
        amount=amount,
        tell=tell,
    )
    with equipment.in_use(Path(config.run)):
        return instrument.measure(methods)
