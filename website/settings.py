"""The page of all settings: dotted keys with their defaults and meanings, as `aepo settings` has them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby

from aepo.config.about import Setting, settings
from website.markdown import cell

_INTRODUCTION = """\
A run is described by a YAML file with these keys. The command line overrides every one by its dotted name:
`train.steps=50`. Unknown keys are errors. The defaults are the vetted setting. `aepo settings KEY` shows one of them,
and what the configurations of the package set it to.
"""


def page() -> tuple[str, set[str]]:
    """The page, and the files of the repository that it links to: none."""
    every = settings()
    lines = ["# Settings", "", _INTRODUCTION, "## Top", "", *_table([one for one in every if "." not in one.key])]
    nested = [one for one in every if "." in one.key]
    for section, of_section in groupby(nested, lambda one: one.key.partition(".")[0]):
        lines += ["", f"## `{section}` {{ #{section} }}", ""]
        for algorithm, found in groupby(of_section, lambda one: one.algorithm):
            if algorithm:
                lines += ["", f"### `{algorithm}` {{ #algorithm.{algorithm} }}", ""]
            lines += _table(list(found))
            if section == "algorithm" and not algorithm:
                lines += [
                    "",
                    "`module:Class` names a class of yours. Each algorithm has its own keys and defaults.",
                ]
    return "\n".join(lines) + "\n", set()


def _table(found: Sequence[Setting]) -> Iterator[str]:
    yield from ("| key | values | default | meaning |", "|---|---|---|---|")
    for one in found:
        yield f"| `{one.key}` | {cell(one.values)} | `{json.dumps(one.default)}` | {cell(one.meaning)} |"
