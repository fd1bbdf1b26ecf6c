"""Writes one self-contained file with chosen questions, which opens from disk without a server."""

from __future__ import annotations

import html
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

from aepo.files.json_data import finite
from aepo.runs.records import Record, read_trees
from aepo.viewer import views
from aepo.viewer.bundle import bundle
from aepo.viewer.learned import learned
from aepo.viewer.policy import for_file
from aepo.viewer.question import digest, whole
from aepo.viewer.source import Source, SourceSection

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Choice:
    """The part of the folders that goes into the file.

    Attributes:
        sections: Steps or data sets; empty for all.
        questions: Ids; empty for all.
        megabytes: Limit on the trees' data. If there is more, questions are chosen evenly over the sections.
    """

    sections: Collection[str] = ()
    questions: Collection[str] = ()
    megabytes: float = 20.0


def export(sources: Sequence[Source], path: str | PathLike[str], choice: Choice | None = None) -> Path:
    """Write the file.

    Args:
        sources: One folder, or two to be compared.
        path: The file; its folder must exist.
        choice: The part to write; None is everything within the default size.

    Raises:
        ValueError: Nothing is chosen, or a file is broken or of another version; the message names it.
    """
    data = _data(sources, choice or Choice())
    out = Path(path)
    title = " and ".join(source.name for source in sources)
    # A lone surrogate, which a broken tokenizer may give, becomes \udcxx: inside JSON that is the same character.
    out.write_text(page(title, data), encoding="utf-8", errors="backslashreplace")
    return out


def page(title: str, data: dict[str, str]) -> str:
    """The HTML text of the page; `data` holds JSON by address (`aepo.viewer.views`)."""
    static = files("aepo.viewer") / "static"
    style = (static / "page.css").read_text(encoding="utf-8")
    scripts = [(static / "vendor" / "d3.min.js").read_text(encoding="utf-8"), bundle()]
    for text in (style, *scripts):
        assert "</s" not in text.lower(), "no element can end inside of itself"
    shell = (static / "page.html").read_text(encoding="utf-8")
    head, rest = shell.split("<!-- served -->")
    _, rest = rest.split("<!-- /served -->")
    body, end = rest.split("</body>")
    policy = f'<meta http-equiv="Content-Security-Policy" content="{for_file(scripts, [style])}">'
    # Only "<" can end a script element. In JSON, \u003c is the same character.
    held = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    head = head.replace("<title>Rollout trees</title>", f"<title>{html.escape(title)} · rollout trees</title>")
    kept = f'<script type="application/json" id="data">{held}</script>'
    return (
        f"{head}{policy}\n<style>{style}</style>\n{body}{kept}\n"
        + "".join(f"<script>{script}</script>\n" for script in scripts)
        + f"</body>{end}"
    )


def _data(sources: Sequence[Source], choice: Choice) -> dict[str, str]:
    known = {section.key for source in sources for section in source.sections()}
    if missing := sorted(set(choice.sections) - known):
        raise ValueError(f"there are no trees of {', '.join(missing)}: there are {', '.join(sorted(known)) or 'none'}")
    found = [
        (number, section, index, record)
        for number, source in enumerate(sources)
        for section in source.sections()
        if not choice.sections or section.key in choice.sections
        for index, record in enumerate(_records(section))
        if not choice.questions or record.group.sample.id in choice.questions
    ]
    if not found:
        raise ValueError(f"{sources[0].folder.path} holds no rollout trees" + " that were chosen" * bool(known))
    texts = [_text(whole(record, index)) for _, _, index, record in found]
    kept = _within([len(text.encode("utf-8", "replace")) for text in texts], choice.megabytes * MEGABYTE)
    told = views.view(sources, live=False)
    if len(kept) < len(found):
        told["note"] = f"{len(kept)} of {len(found)} questions are in this file, evenly chosen for its size"
    data: dict[str, str] = {}
    lists: dict[tuple[int, SourceSection], list[dict[str, Any]]] = {}
    for at in kept:
        run, section, index, record = found[at]
        lists.setdefault((run, section), []).append(digest(record, index))
        data[f"runs/{run}/sections/{section.key}/{index}.json"] = texts[at]
    for run, source in enumerate(sources):
        present = {section.key for number, section in lists if number == run}
        told["runs"][run]["sections"] = [s for s in told["runs"][run]["sections"] if s["key"] in present]
        data[f"runs/{run}/metrics.json"] = _text(views.metrics(source))
        data[f"runs/{run}/learned.json"] = _text(learned(source))
        data[f"runs/{run}/instructions.json"] = _text(views.instructions(source))
    for (run, section), digests in lists.items():
        data[f"runs/{run}/sections/{section.key}.json"] = _text(digests)
    return {"view.json": _text(told), **data}


def _records(section: SourceSection) -> Iterator[Record]:
    for file in section.files:
        yield from read_trees(file)


def _within(sizes: Sequence[int], most: float) -> list[int]:
    """Indices of as many items as fit, evenly spread; at least one."""
    count = len(sizes)
    while count > 1:
        kept = [i * len(sizes) // count for i in range(count)]
        if sum(sizes[i] for i in kept) <= most:
            return kept
        count -= max(1, count // 20)
    return [0]


def _text(value: Any) -> str:
    return json.dumps(finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
