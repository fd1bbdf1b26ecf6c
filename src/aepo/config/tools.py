"""The settings of tools: where their results come from, and the limits of tools, services and the whole run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from aepo.config.section import Section


class RateConfig(Section):
    """Limits of a service that several tools may use.

    Attributes:
        concurrency: Calls at once.
        rate: Calls per second, on average.
        burst: Calls that may begin at once after a pause.
    """

    concurrency: int | None = Field(default=None, ge=1)
    rate: float | None = Field(default=None, gt=0)
    burst: int = Field(default=1, ge=1)


class ToolLimits(RateConfig):
    """Limits of one tool; unset ones are the task's.

    Attributes:
        timeout: Seconds for one call.
        price: Price of one executed call, in the currency of the budget.
        service: Name of the service that it uses, whose limits are in `tools.services`.
    """

    timeout: float | None = Field(default=None, gt=0)
    price: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    service: str | None = None


class BudgetConfig(Section):
    """Limits on the executed tool calls of a run, evaluations included; a call that would exceed one ends the run.

    Attributes:
        calls: Number of calls.
        money: Total price.
    """

    calls: int | None = Field(default=None, ge=0)
    money: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class ToolsConfig(Section):
    """Where tool results come from, and the limits of tools.

    Attributes:
        mode: "live" runs every call. "cached" takes a kept success, or runs the call and keeps a success. "record"
            runs and keeps the first of equal calls. "replay" takes all results from a recording.
        cache: The file of results; null is `tools.sqlite` in the run folder.
        cache_wait: Seconds to wait for that file while other processes lock it.
        unsafe_network_cache: Allow a network file system, which may damage the file.
        repeat: Whether a call of a pure tool that the trajectory has made before is run again, or gets the earlier
            result. An equal call of the same turn waits for it.
        limits: Limits by tool.
        services: Limits by service.
        budget: Limits on all calls together.
    """

    mode: Literal["live", "cached", "record", "replay"] = "live"
    cache: str | None = None
    cache_wait: float = Field(default=10.0, ge=0, le=3600)
    unsafe_network_cache: bool = False
    repeat: Literal["run", "answer"] = "run"
    limits: dict[str, ToolLimits] = Field(default_factory=dict)
    services: dict[str, RateConfig] = Field(default_factory=dict)
    budget: BudgetConfig = BudgetConfig()
