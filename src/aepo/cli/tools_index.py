"""`aepo tools index`."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional


def index(corpus: Positional[Path], /, out: Path) -> None:
    """Index a corpus once, for `search(FOLDER)`.

    Args:
        corpus: A JSON-lines file with "title" and "text" on each line, or a Parquet file with these columns.
        out: Folder of the index; must not exist yet.
    """
    from aepo.tools.search.corpus import read_documents
    from aepo.tools.search.folder import build

    manifest = build(read_documents(corpus), out)
    print(f"{manifest.documents} documents in {out}, corpus {manifest.corpus[:12]}")
