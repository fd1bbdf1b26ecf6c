"""Runs `aepo tools cache`."""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from aepo.terminal.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aepo.tools.cache.database import KeptResult

_DAY = 86400.0
_WIDTH = 100


def cache(
    file: Positional[Path],
    /,
    tool: str | None = None,
    older_than: float | None = None,
    limit: int = 20,
    export: Path | None = None,
    prune: bool = False,
) -> None:
    """List the tool results that a file keeps, export them, or delete some.

    Args:
        file: The file, e.g. tools.sqlite of a run folder.
        tool: Only results of this tool.
        older_than: Only results that were stored more than this many days ago.
        limit: Number of the newest results to list; the totals count all.
        export: Write all chosen results to this JSON-lines file instead of listing them.
        prune: Delete the chosen results instead of listing them; this needs --tool, --older-than, or both.
    """
    from aepo.tools.cache.store import Store

    if prune and tool is None and older_than is None:
        raise ValueError(f"--prune deletes what is chosen: add --tool or --older-than, or remove {file}")
    if prune and export is not None:
        raise ValueError("--export and --prune are two commands: export first, then prune")
    if not file.is_file():
        raise ValueError(f"there is no tool cache {file}")
    before = None if older_than is None else time.time() - older_than * _DAY
    store = Store(file, read_only=not prune)
    store.open()
    try:
        if prune:
            print(f"{store.prune(tool, before)} results deleted from {file}")
        elif export is not None:
            print(f"{_export(store.entries(tool, before), export)} results written to {export}")
        else:
            _list(store.entries(tool, before), limit)
    finally:
        store.close()


def _export(entries: Iterable[KeptResult], out: Path) -> int:
    count = 0
    with out.open("w", encoding="utf-8") as file:
        for entry in entries:
            row = {**asdict(entry), "arguments": json.loads(entry.arguments)}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def _list(entries: Iterable[KeptResult], limit: int) -> None:
    newest: deque[KeptResult] = deque(maxlen=max(0, limit))
    totals: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        newest.append(entry)
        totals[entry.tool, entry.version] += 1
    for entry in newest:
        stored = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.stored))
        asked, told = one_line(entry.arguments, _WIDTH), one_line(entry.text, _WIDTH)
        print(f"{stored}  {entry.status:<7} {entry.tool} {asked} -> {told}")
    for (tool, version), count in sorted(totals.items()):
        print(f"{tool} version {version}: {count} results")
    print(f"{totals.total()} results in all")
