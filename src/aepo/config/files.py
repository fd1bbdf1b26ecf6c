"""Reads and writes configurations: YAML files, with dotted `key=value` overrides on top."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from math import isfinite
from pathlib import Path
from typing import Any, ClassVar

import yaml

from aepo.config.checks import parse
from aepo.config.section import ConfigError
from aepo.config.sections import Config
from aepo.files.paths import local

VERL = "verl"
"""The section with verl's own settings, which are read as verl reads them."""

SHARED_BY_ALGORITHMS = ("group_size", "kl_weight")
"""Settings that stay when another algorithm is named; all others become its defaults."""


SHIPPED = Path(__file__).parents[1] / "configs"


def load(path: str | Path | None, overrides: Sequence[str] = ()) -> Config:
    """The configuration of a YAML file with `key.sub=value` overrides on top.

    Args:
        path: The file, or the name of one in this package, such as "quickstart"; None means class defaults.
        overrides: Dotted keys and values; see `split`.

    Raises:
        ConfigError: The file is missing or not YAML, a key is unknown, or a value does not fit.
    """
    return parse(merged({} if path is None else read(path), dict(map(split, overrides))))


def read(path: str | Path) -> dict[str, Any]:
    """The keys of a YAML file, unchecked; `scalar` reads plain words.

    Raises:
        ConfigError: The file is missing, is not YAML, or has no keys.
    """
    try:
        text = located(path).read_text(encoding="utf-8")
        data = yaml.load(text, Loader=_Reader)
        if isinstance(data, dict) and VERL in data:
            data[VERL] = yaml.load(text, Loader=_Numbers)[VERL]
    except OSError as error:
        known = f"; those of the package are {', '.join(shipped())}" if bare(path) else ""
        raise ConfigError(f"cannot read {path}: {error.strerror}{known}") from None
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds no keys: write e.g. 'seed: 1'")
    return data


def located(path: str | Path) -> Path:
    """The file of a path; a bare name that is no file here is that of a configuration of this package."""
    here = local(path)
    return SHIPPED / f"{path}.yaml" if bare(path) and not here.exists() and str(path) in shipped() else here


def bare(path: str | Path) -> bool:
    """Whether a path is a word alone, without folder and ending."""
    return Path(path).name == str(path) and not Path(path).suffix


def shipped() -> list[str]:
    """The names of the configurations of this package."""
    return sorted(file.stem for file in SHIPPED.glob("*.yaml"))


def split(override: str) -> tuple[str, Any]:
    """Dotted key and value of `key=value`.

    A value that begins with a bracket or a quote is read as YAML, any other by `scalar`. An empty value is null; for an
    option of a task it is the empty text.

    Raises:
        ConfigError: It is not of that form.
    """
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"cannot read {override!r}: write key=value, e.g. train.steps=50")
    value = value.strip()
    theirs = key.split(".")[0] == VERL
    if not theirs and value[:1] not in ("[", "{", '"', "'"):
        return key, scalar(value) if value or not key.startswith("task.options.") else value
    try:
        return key, yaml.load(value, Loader=_Numbers if theirs else _Reader)
    except (ValueError, RecursionError, yaml.YAMLError):
        raise ConfigError(f"cannot read the value in {override!r}") from None


def scalar(text: str) -> Any:
    """Read a plain word: a number, true, false or null if it is written exactly as YAML dumps one, else the word.

    So 1.10, 007, 1e-4, 12:30, no and 2024-05-01 stay texts. A setting that is a number or a switch converts them later,
    when its type is known.
    """
    if text in ("", "~"):
        return None
    if text in (".inf", "-.inf"):
        return float(text.replace(".", ""))
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    # YAML writes 1e-06 as 1.0e-06.
    dumped = (json.dumps(value), json.dumps(value).replace("e", ".0e"))
    infinite = isinstance(value, float) and not isfinite(value)
    return text if text not in dumped or infinite or isinstance(value, str | list | dict) else value


def merged(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of nested `data` in which the dotted keys of `changes` have new values.

    If they name another algorithm, it takes `SHARED_BY_ALGORITHMS` from `data` and defaults for the rest.

    Raises:
        ConfigError: A dotted key leads into a value.
    """
    copy = deepcopy(dict(data))
    algorithm, name = copy.get("algorithm"), changes.get("algorithm.name")
    if isinstance(algorithm, dict) and name is not None and name != algorithm.get("name", "aepo"):
        copy["algorithm"] = {key: algorithm[key] for key in SHARED_BY_ALGORITHMS if key in algorithm}
    for key, value in changes.items():
        _put(copy, key.split("."), value)
    return copy


def flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as dotted keys; an empty mapping is a value."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def change(before: Mapping[str, Any], now: Mapping[str, Any], keys: Iterable[str]) -> str | None:
    """The first of these dotted keys whose value has changed, like "seed was 1 and is now 2"; None if none has."""
    found = (key for key in sorted(keys) if before.get(key) != now.get(key))
    return next((f"{key} was {before.get(key)!r} and is now {now.get(key)!r}" for key in found), None)


def dump(config: Config) -> str:
    """The resolved configuration as YAML; `load` reads it back equal."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


class _Numbers(yaml.SafeLoader):
    """Reads YAML as verl does, where 1e-4 is a number."""


class _Reader(yaml.SafeLoader):
    """Reads YAML with `scalar` for plain words."""

    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {}


_Numbers.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)
_Reader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile("^<<$"), ["<"])
_Reader.add_implicit_resolver("!plain", re.compile(""), None)
_Reader.add_constructor("!plain", lambda reader, node: scalar(str(reader.construct_scalar(node))))


def _put(data: dict[str, Any], keys: list[str], value: Any) -> None:
    for at, key in enumerate(keys[:-1]):
        if data.get(key) is None:
            data[key] = {}
        inner = data[key]
        if not isinstance(inner, dict):
            raise ConfigError(f"{'.'.join(keys[: at + 1])} is a value, it has no key {keys[at + 1]!r}")
        data = inner
    data[keys[-1]] = value
