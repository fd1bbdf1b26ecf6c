"""Loads what the arguments of a command name: data sets with their questions and tools, a judge, a function."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import iscoroutinefunction
from os.path import exists, isfile  # pathlib's raise an error for a long list of ids
from pathlib import Path
from typing import Any

from aepo.files.modules import load_named
from aepo.files.paths import expanded, local
from aepo.rewards.judge import Ask, Judge
from aepo.tasks.base import Task
from aepo.tasks.datasets import find
from aepo.tasks.identity import of_told
from aepo.tasks.reading import DataError, DataSet
from aepo.tasks.reading.base import Method

FILES = (".jsonl", ".json", ".parquet")
JUDGE_KEY = "AEPO_JUDGE_KEY"
"""The environment variable with the key of a judge's server; if it is not set, no key is sent."""
_SERVER = re.compile(r"(?:(?P<model>.+)@)?(?P<url>https?://.*)")


@dataclass(frozen=True)
class Asked:
    """One data set of an evaluation.

    Attributes:
        data_set: The data set, with the score that was chosen.
        task: The chosen questions, with their tools.
        left_out: Number of rows that are left out, by the thing besides text that they need.
    """

    data_set: DataSet
    task: Task
    left_out: dict[str, int]


def choose(
    names: str,
    data: str | None = None,
    ids: str | None = None,
    tools: str | None = None,
    corpus: str | None = None,
    score: Method | None = None,
    told: Mapping[str, Any] | None = None,
) -> list[Asked]:
    """Load the data sets of a command with their questions and tools; the arguments are those of `aepo eval`.

    `told` is what the model was told in training (`aepo.tasks.identity.told`).

    Raises:
        ValueError: A name, file, id or tool is wrong.
    """
    from aepo.tasks.benchmark import check_corpus, make_tools
    from aepo.tasks.reading import load_samples
    from aepo.tasks.reading.load import chosen, read_ids

    sets = [find(name) for name in names.split(",") if name.strip()]
    if len({one.name for one in sets}) < len(sets):
        raise DataError(f"{names}: each data set once")
    files = data_files([one.name for one in sets], data)
    listed = None if tools is None else [t.strip() for t in tools.split(",") if t.strip() not in ("", "none")]
    for one in sets:
        check_corpus(one, listed, corpus)
    loaded = [load_samples(one, files.get(one.name)) for one in sets]
    wanted = None if ids is None else read_ids(ids if isfile(expanded(ids)) else ids.split(","))
    known = {sample.id for one in loaded for sample in one.samples}
    if wanted is not None and (missing := [one for one in wanted if one not in known]):
        raise DataError(f"no question of {names} has the id {missing[0]!r}; an id is e.g. {min(known)!r}")
    asked = []
    for one, rows in zip(sets, loaded, strict=True):
        own, left_out = rows.samples, rows.left_out
        if wanted is not None:
            inside = {sample.id for sample in own}
            own, left_out = chosen(rows, [i for i in wanted if i in inside], one.name), {}
            if not own:
                raise DataError(f"{one.name}: none of the ids is one of its questions; leave the data set out")
        made = make_tools(one, listed, corpus)
        task = Task(one.name, own, made, **of_told(told or {}, made))
        asked.append(Asked(replace(one, method=score or one.method), task, left_out))
    return asked


def data_files(names: Sequence[str], data: str | None) -> dict[str, Path]:
    """Find the file of each data set; a data set without a file comes from the hub.

    Args:
        names: The names of the data sets.
        data: A file for a single data set, a folder with <name>.jsonl or .parquet for each, or name=file,name=file.

    Raises:
        DataError: `data` is none of these.
    """
    if data is None:
        return {}
    if "=" in data and not exists(data):
        files = {}
        for part in data.split(","):
            name, _, file = part.partition("=")
            if find(name).name not in names:
                raise DataError(f"--data names {name!r}, which is not evaluated")
            files[find(name).name] = local(file)
        return files
    path = local(data)
    if path.is_dir():
        there = {p.stem.lower(): p for p in sorted(path.iterdir()) if p.suffix in FILES}
        missing = [name for name in names if name not in there]
        if missing:
            raise DataError(f"{data} has no {missing[0]}.jsonl or {missing[0]}.parquet")
        return {name: there[name] for name in names}
    if len(names) > 1:
        raise DataError(f"--data {data} is one file for {len(names)} data sets: give name=file,name=file, or a folder")
    return {names[0]: path}


def load_judge(judge: str | None, sets: Sequence[DataSet]) -> Judge | None:
    """Load the judge, if one of the data sets needs a judge.

    Args:
        judge: The judge's name, see `named_judge`.
        sets: The data sets.

    Raises:
        ValueError: A judge is needed but not given, is given but not needed, or cannot be loaded.
        ServerError: The server does not answer.
    """
    needing = [one.name for one in sets if one.method == "judge"]
    if judge is None:
        if needing:
            raise ValueError(
                f"{', '.join(needing)}: scored by a judge; give one as --judge MODEL@http://host:port/v1 or "
                "package.module:function, or choose --score words, which is not comparable with published figures"
            )
        return None
    if not needing:
        raise ValueError("--judge is given, but none of these data sets is scored by a judge: add --score judge")
    return named_judge(judge)


def named_judge(judge: str) -> Judge:
    """Load a judge.

    Args:
        judge: A model behind a server: "MODEL@http://host/v1", or the address alone if the server has one model. Or
            "package.module:function", an async function from a prompt to the judge's reply.

    Raises:
        ValueError: It cannot be imported, is no such function, or no model is named and the server has several.
        ServerError: The server does not answer.
    """
    if (found := _SERVER.fullmatch(judge)) is not None:
        return _served(found["url"], found["model"])
    made: Ask = load_function("judge", judge)
    if not iscoroutinefunction(made):
        raise ValueError(f"judge {judge!r} is no async function from a prompt to a reply")
    return Judge(made, str(getattr(made, "model", judge)))


def _served(url: str, model: str | None) -> Judge:
    from aepo.engines.openai.chat import find
    from aepo.engines.openai.client import Endpoint
    from aepo.tools.key import ApiKey

    key = ApiKey(JUDGE_KEY) if os.environ.get(JUDGE_KEY) else None
    chat = find(Endpoint(url, key), model, "--judge MODEL@" + url)
    return Judge(chat.ask, chat.model)


def load_function(what: str, name: str) -> Any:
    """Import a function.

    Args:
        what: The function's purpose, for messages.
        name: The function as "package.module:function".

    Raises:
        ValueError: It cannot be imported, or is no function.
    """
    made: Any = load_named(what, name)
    if not callable(made):
        raise ValueError(f"{what} {name!r} is a {type(made).__name__}: name a function")
    return made
