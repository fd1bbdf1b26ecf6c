"""Limits of tools where several processes call them: what is a service's own is divided among the processes."""

from __future__ import annotations

from typing import TypeVar

from aepo.config import ConfigError, RateConfig, ToolsConfig

R = TypeVar("R", bound=RateConfig)


def divided(tools: ToolsConfig, workers: int) -> ToolsConfig:
    """The settings of one of `workers` processes, one a node, so that all together keep the limits.

    The calls at once of a tool are a node's, since they spend its processors. Those of a service, and all rates, are
    divided.

    Raises:
        ConfigError: A service takes fewer calls at once than there are processes.
    """
    services = {}
    for name, service in tools.services.items():
        if service.concurrency is not None and service.concurrency < workers:
            raise ConfigError(
                f"tools.services.{name}.concurrency is {service.concurrency}, and tools run in {workers} processes: "
                f"raise it, or set verl.actor_rollout_ref.rollout.agent.num_workers lower"
            )
        part = None if service.concurrency is None else service.concurrency // workers
        services[name] = _slower(service, workers).model_copy(update={"concurrency": part})
    limits = {name: _slower(limit, workers) for name, limit in tools.limits.items()}
    return tools.model_copy(update={"services": services, "limits": limits})


def _slower(limits: R, workers: int) -> R:
    return limits.model_copy(update={"rate": None if limits.rate is None else limits.rate / workers})
