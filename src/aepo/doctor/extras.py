"""Finds packages that a configuration needs and that belong to an extra, before anything is loaded."""

from __future__ import annotations

from importlib.util import find_spec

from aepo.config import Config
from aepo.doctor.finding import Finding


def extras(config: Config) -> list[Finding]:
    """Find packages that the configuration needs and that are not installed, because they belong to an extra."""
    wanted = []
    if config.model.lora is not None:
        wanted.append(("lora", "peft", "model.lora"))
    wanted += [(name, name, "train.trackers") for name in config.train.trackers if name != "csv"]
    if config.train.optimizer == "adamw_8bit":
        from aepo.training.eight_bit import LIBRARIES

        if not any(map(find_spec, LIBRARIES)):
            wanted.append(("eight-bit", LIBRARIES[0], "train.optimizer"))
    return [
        Finding("config", key, f"needs the package {module}", "missing", f'pip install "aepo-rl[{extra}]"')
        for extra, module, key in wanted
        if find_spec(module) is None
    ]


def check_extras(config: Config) -> None:
    """Refuse a configuration whose model or trackers need a package that is not installed.

    Raises:
        ValueError: One is missing; the line says how to install it.
    """
    # Whether a library has an optimizer that works here shows its trial.
    for found in (one for one in extras(config) if one.name != "train.optimizer"):
        raise ValueError(f"{found.name} {found.text}: {found.fix}")
