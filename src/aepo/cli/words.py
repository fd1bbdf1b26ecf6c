"""Reads words of the command line: paths with `~`, settings, and the configuration that they make."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from inspect import Parameter, signature
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from tyro.conf import arg
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from aepo.config import Config, ConfigError, load
from aepo.files.paths import local

_SETTING = re.compile(r"[a-z]\w*(\.\w+)*=")
REGISTRY = ConstructorRegistry()
_KINDS = {str: "STR", int: "INT", float: "FLOAT", Path: "PATH"}


@REGISTRY.primitive_rule
def _path(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """Expand `~` in paths: a shell does not expand it after `--out=`."""
    if info.type is not Path:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda words: local(words[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda value: [str(value)],
    )


def file_and_settings(first: str | None, others: tuple[str, ...]) -> tuple[Path | None, tuple[str, ...]]:
    """Split the words into the configuration's file and the settings; without a file, the first word is a setting."""
    if first is None or "=" in first:
        return None, (*([] if first is None else [first]), *others)
    file = local(first)
    if first.partition(".")[0] in Config.model_fields and "." in first and not file.exists():
        raise ConfigError(f"{first} is a setting: write {first}={others[0] if others else 'VALUE'}")
    return file, others


def settings_for(model: str, file: Path | None, overrides: tuple[str, ...]) -> Config:
    """The configuration of a command on a model: of `file`, by default of the run that the model is.

    Raises:
        ConfigError: A setting is wrong.
    """
    from aepo.runs.folder import RunFolder

    return load(file or RunFolder(local(model)).config_file, overrides)


def settings_first(words: Sequence[str], switches: Collection[str], lists: Collection[str] = ()) -> list[str]:
    """The words of a command with files and settings before the first option, because people add them at the end.

    Args:
        words: Those after the command.
        switches: Options without a value; the word after any other option is its value.
        lists: Options with several values.
    """
    first = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
    named, settings, others, option = list(words[:first]), [], [], ""
    for before, word in pairwise(["", *words[first:]]):
        if word.startswith("-"):
            option = word
        is_value = before.startswith("-") and "=" not in before and before not in switches
        if word.startswith("-") or is_value:
            others.append(word)
        elif _SETTING.match(word):
            settings.append(word)
        else:
            (others if option in lists else named).append(word)
    return named + settings + others


def lists(command: Callable[..., Any]) -> set[str]:
    """The options of a command that take several values at once."""
    kinds = {name: str(one.annotation) for name, one in signature(command).parameters.items()}
    several = [name for name, kind in kinds.items() if "tuple[" in kind and "UseAppendAction" not in kind]
    return {"--" + name.replace("_", "-") for name in several}


def switches(command: Callable[..., Any]) -> set[str]:
    """The options of a command that take no value."""
    names = [name.replace("_", "-") for name, one in signature(command).parameters.items() if type(one.default) is bool]
    return {option for name in names for option in (f"--{name}", f"--no-{name}")}


def annotations(command: Callable[..., Any]) -> dict[str, Any]:
    """A command's annotations for tyro; the help then has no "(default: None)", "(default: )" and "{None}|INT"."""
    hints, parameters = get_type_hints(command, include_extras=True), signature(command).parameters
    silent = {name for name, one in parameters.items() if one.default in (None, (), Parameter.empty)}
    return {name: _plain(hint) if name in silent else hint for name, hint in hints.items()}


def _plain(hint: Any) -> Any:
    kind, *others = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    metavar = None
    if NoneType in get_args(kind):
        (inner,) = (part for part in get_args(kind) if part is not NoneType)
        words = [_KINDS.get(part) for part in get_args(inner) or [inner]]
        metavar = " ".join(word for word in words if word is not None) if all(words) else None
    # A metavar of the command itself comes later and is taken.
    return Annotated[(kind, arg(metavar=metavar, help_behavior_hint=""), *others)]  # type: ignore[return-value]
