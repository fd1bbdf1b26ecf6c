"""Configurations as text: YAML files, dotted `key=value` pairs on top, and back again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from aepo.config.checks import parse
from aepo.config.sections import Config, ConfigError

SHARED_BY_ALGORITHMS = ("group_size", "kl_weight")
"""Settings that stay when another algorithm is named; its others are its own defaults."""


def load(path: str | Path | None, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a YAML file with `key.sub=value` overrides on top.

    Args:
        path: The file; None means class defaults.
        overrides: Dotted keys; values are read as YAML.

    Raises:
        ConfigError: The file is missing or not YAML, a key is unknown, or a value does not fit.
    """
    return parse(merged({} if path is None else read(path), dict(map(split, overrides))))


def read(path: str | Path) -> dict[str, Any]:
    """The keys of a YAML file, unchecked; 1e-4 is a number.

    Raises:
        ConfigError: The file is missing, not YAML, or holds something else than keys.
    """
    try:
        data = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Numbers)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds no keys: write e.g. 'seed: 1'")
    return data


def split(override: str) -> tuple[str, Any]:
    """Dotted key and value of `key=value`; the value is read as YAML.

    Raises:
        ConfigError: It is not of that form.
    """
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"cannot read {override!r}: write key=value, e.g. train.steps=50")
    try:
        return key, yaml.load(value, Loader=_Numbers)
    except yaml.YAMLError:
        raise ConfigError(f"cannot read the value in {override!r}") from None


def merged(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested `data` in which the dotted keys of `changes` have new values.

    Where they name another algorithm, it takes `SHARED_BY_ALGORITHMS` from `data`; its others are its own defaults.

    Raises:
        ConfigError: A key goes into something that is a value.
    """
    copy = deepcopy(dict(data))
    algorithm, name = copy.get("algorithm"), changes.get("algorithm.name")
    if isinstance(algorithm, dict) and name is not None and name != algorithm.get("name", "aepo"):
        copy["algorithm"] = {key: algorithm[key] for key in SHARED_BY_ALGORITHMS if key in algorithm}
    for key, value in changes.items():
        _put(copy, key.split("."), value)
    return copy


def flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones; an empty mapping is a value."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def dump(config: Config) -> str:
    """The resolved configuration as YAML; `load` reads it back equal."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


class _Numbers(yaml.SafeLoader):
    """YAML that reads 1e-4 as a number, as everybody expects."""


_Numbers.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _put(data: dict[str, Any], keys: list[str], value: Any) -> None:
    for at, key in enumerate(keys[:-1]):
        if data.get(key) is None:
            data[key] = {}
        inner = data[key]
        if not isinstance(inner, dict):
            raise ConfigError(f"{'.'.join(keys[: at + 1])} is a value, it has no key {keys[at + 1]!r}")
        data = inner
    data[keys[-1]] = value
