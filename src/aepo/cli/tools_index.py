"""Runs `aepo tools index`."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional


def index(corpus: Positional[Path], /, out: Path) -> None:
    """Index a corpus once, for `search(FOLDER)`.

    Args:
        corpus: A file of rows with "text" and perhaps "title", or with "contents": JSON lines, a JSON array, .tsv or
            Parquet; all but Parquet may be compressed (.gz, .bz2, .xz).
        out: Folder of the index; it must not exist yet.
    """
    from aepo.tools.search.corpus import read_documents
    from aepo.tools.search.folder import build

    manifest = build(read_documents(corpus), out)
    print(f"{manifest.documents} documents in {out}, corpus {manifest.corpus[:12]}")
