"""The page of all metrics, from the table that the viewer shows too."""

from __future__ import annotations

from aepo.runs.meanings import MEANINGS
from website.markdown import cell

_INTRODUCTION = """\
A run writes these numbers to `metrics.jsonl`, and [trackers](../how-to/trackers.md) send them on. A metric without data
is left out. The viewer shows the sentence when the pointer rests on the name of a chart. A share is a number from 0 to
1, which the viewer shows in per cent. Entropies and log-probabilities are in nats.
"""


def page() -> tuple[str, set[str]]:
    """The page, and the files of the repository that it links to: none."""
    lines = ["# Metrics", "", _INTRODUCTION]
    for topic, found in MEANINGS.items():
        lines += ["", f"## {topic}", "", "| metric | unit | meaning |", "|---|---|---|"]
        lines += [f"| `{name}` | {unit} | {cell(text)} |" for name, (unit, text) in found.items()]
    return "\n".join(lines) + "\n", set()
