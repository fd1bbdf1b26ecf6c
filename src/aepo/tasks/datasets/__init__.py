"""The fourteen data sets of the paper, one file each; `find` returns one by name.

Every file begins with a row in the published format. The rows are invented, because some publishers forbid resharing.
"""

from __future__ import annotations

import difflib
from importlib import import_module

from aepo.tasks.reading.base import DataSet
from aepo.tasks.reading.row import DataError

NAMES = (
    "aime24",
    "aime25",
    "math500",
    "gsm8k",
    "math",
    "hotpotqa",
    "2wiki",
    "musique",
    "bamboogle",
    "webwalkerqa",
    "gaia",
    "hle",
    "xbench",
    "simpleqa",
)
_MODULES = {"2wiki": "two_wiki"}


def find(name: str) -> DataSet:
    """The data set with this name, in upper or lower case.

    Raises:
        DataError: There is none; the message names the nearest one.
    """
    plain = name.strip().lower()
    if plain not in NAMES:
        near = difflib.get_close_matches(plain, NAMES, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise DataError(f"unknown data set {name!r}: {hint}known: {', '.join(NAMES)}")
    found: DataSet = import_module(f"aepo.tasks.datasets.{_MODULES.get(plain, plain)}").DATA_SET
    return found
