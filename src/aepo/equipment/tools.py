"""A task's tools with the limits, the budget and the kept results of a configuration."""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

from aepo.config import Config, ConfigError, RateConfig, ToolLimits, ToolsConfig
from aepo.environments.base import Environment
from aepo.tasks.base import Task
from aepo.tools.base import Tool, ToolSettings
from aepo.tools.cache.layer import CacheMode, cached
from aepo.tools.cache.store import CacheUnavailable, Store
from aepo.tools.limits import Rate, Service, ToolBudget, ToolTerms, limited
from aepo.tools.places import Places

_log = logging.getLogger(__name__)

CACHE = "tools.sqlite"
SPENT = "tools-spent.jsonl"


@dataclass(frozen=True)
class Equipment:
    """Tools that are ready to be called inside `in_use`.

    Attributes:
        tools: The tools, in the task's order.
        mode: The source of their results.
        store: The kept results; None if none are kept.
        budget: The limit on their calls; None without one.
    """

    tools: tuple[Tool, ...]
    mode: CacheMode
    store: Store | None = None
    budget: ToolBudget | None = None

    def of(self, task: Task) -> Task:
        """The task with these tools, and with environments whose openings and endings are kept as results are."""
        environments = {
            name: replace(environment, tools=tuple(tool for tool in self.tools if tool.environment == name)).kept_by(
                self._keep, self.mode == "replay"
            )
            for name, environment in task.environments.items()
        }
        one = isinstance(task.environment, Environment)
        return replace(
            task, tools=self.tools, environment=next(iter(environments.values())) if one else environments or None
        )

    def _keep(self, tool: Tool) -> Tool:
        return tool if self.store is None else cached(tool, self.store, self.mode)

    @contextmanager
    def in_use(self, run: Path, keep: bool = False, resume: bool = False) -> Iterator[None]:
        """Open the kept results and the budget, and close them.

        Args:
            run: The run folder, which names the recording.
            keep: Write the spending to that folder.
            resume: Go on with the run's spending and recording.

        Raises:
            CacheRefused: The cache cannot be used.
            CacheUnavailable: At the end, results of a recording could not be written.
        """
        if self.budget is not None and keep:
            self.budget.keep_in(run / SPENT, resume)
        if self.store is None:
            yield
            return
        self.store.open()
        try:
            if self.mode == "record":
                self.store.begin_recording(os.fsencode(run.resolve()).decode("utf-8", "replace"), resume)
            yield
        except BaseException as error:
            _close(self.store, error.add_note)
            raise
        if self.mode == "record":
            self.store.close()
        else:
            _close(self.store, _log.warning)


def equip(config: Config, tools: Sequence[Tool], mode: CacheMode | None = None) -> Equipment:
    """Prepare the tools of a task under a configuration. No file is opened yet.

    Args:
        config: The run's configuration.
        tools: The task's tools.
        mode: The mode to use instead of the configuration's.

    Raises:
        ConfigError: The limits name an unknown tool or service, or there is nothing to replay.
    """
    settings, mode = config.tools, mode or config.tools.mode
    _known("tools.limits", settings.limits, [tool.name for tool in tools])
    wanted = [_with(tool, settings.limits.get(tool.name, ToolLimits())) for tool in tools]
    _known("tools.services", settings.services, sorted({tool.service for tool in wanted} - {""}))
    services = {name: Service(_places(limit), _rate(limit)) for name, limit in settings.services.items()}
    spends = settings.budget.calls is not None or settings.budget.money is not None
    budget = ToolBudget(settings.budget.calls, settings.budget.money) if spends else None
    store = None if mode == "live" else _store(settings, Path(config.run), mode)
    if settings.budget.money is not None and not any(tool.price for tool in wanted):
        raise ConfigError("tools.budget.money is set, but no tool has a price: set tools.limits.<tool>.price")
    made = []
    for tool in wanted:
        rate = _rate(settings.limits.get(tool.name, ToolLimits()))
        service = services.get(tool.service, Service())
        if rate or service.places or service.rate or budget:
            tool = limited(tool, ToolTerms(rate, service, budget))
        made.append(tool if store is None else cached(tool, store, mode))
    asked_anew = [tool.name for tool in wanted if not tool.pure]
    if asked_anew and (mode == "cached" or settings.repeat == "answer"):
        _log.warning("not declared pure, so always asked anew: %s (@aepo.tool(pure=True))", ", ".join(asked_anew))
    return Equipment(tuple(made), mode, store, budget)


def _store(settings: ToolsConfig, run: Path, mode: CacheMode) -> Store:
    path = run / CACHE if settings.cache is None else Path(settings.cache)
    if mode == "replay" and not path.is_file():
        raise ConfigError(f"there is no tool cache {path} to replay: give tools.cache the file of a recorded run")
    return Store(path, settings.cache_wait, mode == "replay", settings.unsafe_network_cache)


def _with(tool: Tool, limits: ToolLimits) -> Tool:
    settings = {setting.name for setting in fields(ToolSettings)}
    return replace(tool, **{key: value for key, value in limits if key in settings and value is not None})


def _places(limits: RateConfig) -> Places | None:
    return None if limits.concurrency is None else Places(limits.concurrency)


def _rate(limits: RateConfig) -> Rate | None:
    return None if limits.rate is None else Rate(limits.rate, limits.burst)


def _known(key: str, given: Iterable[str], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known) or 'none'}"
            raise ConfigError(f"unknown key '{key}.{name}': {hint}")


def _close(store: Store, tell: Callable[[str], None]) -> None:
    try:
        store.close()
    except CacheUnavailable as error:
        tell(str(error))
