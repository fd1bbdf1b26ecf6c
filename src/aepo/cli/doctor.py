"""Runs `aepo doctor`."""

from __future__ import annotations

import json as json_format
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from aepo import config as configuration
from aepo.cli.words import file_and_settings
from aepo.config import Config, ModelConfig

if TYPE_CHECKING:
    from aepo.doctor.finding import Finding


def doctor(
    config: Positional[str | None] = None,
    overrides: Positional[tuple[str, ...]] = (),
    /,
    *,
    model: str | None = None,
    url: tuple[str, ...] = (),
    trial: int = 0,
    measure: bool = True,
    json: bool = False,
) -> int:
    """Check this machine, and whether all is there that a configuration, a model or a server needs.

    If the task has an environment, a few calls at random are made in its worlds.

    The exit code is 1 if something is missing. Keys of services are only looked for; their values are never shown.

    Args:
        config: YAML file of a run, or a name such as quickstart; the memory and the time of a step are estimated too.
        overrides: Settings that change the configuration; with `--model` alone, settings of the model
            (model.tokenizer=...).
        model: Check the chat template of this model; for a server ("http://..."), also the log-probabilities it gives.
        url: Services that must answer, besides the addresses in the configuration.
        trial: Number of the task's questions to ask, with the real tools, to learn how long trajectories are. Without
            it, times are computed for the longest ones allowed.
        measure: Load the model of the configuration and measure a few calls.
        json: Print JSON and nothing else.
    """
    file, overrides = file_and_settings(config, overrides)
    if file is None and [one for one in overrides if model is None or not one.startswith("model.")]:
        raise configuration.ConfigError("settings need a configuration that they change: aepo doctor CONFIG key=value")
    if trial < 0:
        raise ValueError(f"--trial is {trial}: give the number of questions")
    settings = None if file is None else configuration.load(file, overrides)
    about = None
    if model is not None:
        about = (settings or configuration.load(None, overrides)).model.model_copy(update={"path": model})
    findings = examine(settings, about, url, trial, measure)
    if json:
        missing = any(one.state == "missing" for one in findings)
        print(json_format.dumps({"ok": not missing, "findings": [one.to_dict() for one in findings]}, indent=1))
    else:
        from aepo.doctor.show import show

        show(findings)
    return int(any(one.state == "missing" for one in findings))


def examine(
    config: Config | None,
    model: ModelConfig | None = None,
    urls: Sequence[str] = (),
    trial: int = 0,
    measure: bool = True,
) -> list[Finding]:
    """Make all checks of `aepo doctor`; the findings have the order of the screen.

    Args:
        config: The configuration of a run.
        model: The model to check instead of the configuration's.
        urls: Services that must answer.
        trial: Number of questions to ask.
        measure: Load the configuration's model and measure it.
    """
    from aepo.doctor import host, plan, services
    from aepo.doctor.extras import extras
    from aepo.doctor.interpreter import interpreter
    from aepo.doctor.model import look_at
    from aepo.doctor.worlds import worlds

    folder = Path("runs" if config is None else config.run)
    found = [*host.versions(), *host.machine(folder)]
    task, about_task = (None, []) if config is None else plan.load_task(config)
    found += host.sandboxes(plan.needs_sandbox(task, about_task))
    found += services.keys()
    named = [] if config is None else services.named_in(config.model_dump(mode="json"))
    found += services.addresses(list(dict.fromkeys([*named, *urls])))
    if model is not None:
        found += look_at(model, template=None if config is None else config.rollout.template)
    if config is None:
        return found
    if model is None:
        found += look_at(config.model, config.rollout.protocol, config.engine, config.rollout.template)
    if config.engine == "vllm":
        found += interpreter(config)
    return [*found, *about_task, *worlds(task), *extras(config), *plan.step(config, task, measure, trial)]
