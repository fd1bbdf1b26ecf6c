"""Divides the limits of services among the processes that call tools."""

from __future__ import annotations

from typing import TypeVar

from aepo.config import ConfigError, RateConfig, ToolsConfig

R = TypeVar("R", bound=RateConfig)


def divided(tools: ToolsConfig, workers: int) -> ToolsConfig:
    """The tool settings of each of `workers` processes, one per node, so that together they keep the limits.

    A tool's `concurrency` is per node, because its calls use the node's processors. The `concurrency` of a service and
    all rates are divided.

    Raises:
        ConfigError: A service's `concurrency` is below the number of processes.
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
