"""`aepo settings`."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from tyro.conf import Positional

from aepo import config as configuration
from aepo.config import Config, about
from aepo.config.about import Setting
from aepo.files.paths import local


def settings(key: Positional[str | None] = None, config: Positional[str | None] = None, /) -> None:
    """Say what a setting means, which values it takes, and what it is by default and in a configuration.

    Args:
        key: A setting, e.g. train.learning_rate, or its last word, e.g. tau; or a section, e.g. train. Without one,
            all settings are listed.
        config: The configuration to read the value from: a file, a name such as quickstart, or the folder of a run.
            By default those of the package that set it.
    """
    found = about.settings() if key is None else about.asked(key)
    chosen = None if config is None else _loaded(config)
    if chosen is not None:
        found = [one for one in found if one.algorithm in ("", chosen.algorithm.name)]
    whole = key is not None and not any(one.key.startswith(f"{key}.") for one in found)
    if not whole:
        print("\n".join(_listed(found)))
        return
    for of_key in _grouped(found):
        print("\n".join(_explained(of_key, config, chosen)))


def _loaded(config: str) -> Config:
    """The configuration that a word names."""
    from aepo.runs.folder import RunFolder

    return configuration.load(RunFolder(local(config)).config_file or config)


def _grouped(found: Iterable[Setting]) -> list[list[Setting]]:
    """The settings by key, meaning and values: algorithms share most of theirs."""
    groups: dict[tuple[str, str, str], list[Setting]] = {}
    for one in found:
        groups.setdefault((one.key, one.meaning, one.values), []).append(one)
    return list(groups.values())


def _listed(found: Iterable[Setting]) -> Iterator[str]:
    """A line each: the key, and its default where all algorithms have the same."""
    defaults: dict[str, dict[str, None]] = {}
    for one in found:
        defaults.setdefault(one.key, {})[_shown(one.default)] = None
    width = max(map(len, defaults), default=0)
    yield from (f"{key:{width}}  {' or '.join(values)}" for key, values in defaults.items())


def _explained(same: list[Setting], config: str | None, chosen: Config | None) -> Iterator[str]:
    """One setting, with the defaults of the algorithms that have it."""
    first = same[0]
    algorithms = [one.algorithm for one in same if one.algorithm]
    yield first.key + (f"  ({', '.join(algorithms)})" if algorithms else "")
    width = min(shutil.get_terminal_size().columns, 100)
    yield textwrap.fill(first.meaning, width, initial_indent="  ", subsequent_indent="  ")
    yield f"  values   {first.values}"
    defaults = {_shown(one.default): None for one in same}
    each = (f"{_shown(one.default)} ({one.algorithm})" for one in same)
    yield f"  default  {', '.join(defaults if len(defaults) == 1 else each)}"
    for one in same:
        for preset, value in (one.presets or {}).items():
            yield f"  preset   {_shown(value)} with algorithm.name={one.algorithm} algorithm.preset={preset}"
    if chosen is not None:
        yield f"  here     {_shown(_value(chosen, first.key))} in {config}"
    else:
        yield from (f"  set to   {value} in {', '.join(names)}" for value, names in _shipped(same).items())


def _value(config: Config, key: str) -> Any:
    """What a configuration gives; null where the setting's section is not there."""
    value: Any = config.model_dump(mode="json")
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _shipped(same: list[Setting]) -> dict[str, list[str]]:
    """The configurations of the package that set it, by the value."""
    algorithms, found = {one.algorithm for one in same}, dict[str, list[str]]()
    for name in configuration.shipped():
        data = configuration.read(name)
        algorithm = data.get("algorithm", {}).get("name", Config().algorithm.name)
        own = configuration.flat(data)
        if "entries" not in data and same[0].key in own and algorithms & {"", algorithm}:
            found.setdefault(_shown(own[same[0].key]), []).append(name)
    return found


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
