"""An index on disk: built once in a temporary folder that is then renamed, read by many processes, never changed.

`manifest.json` is written last. It names every file with its SHA-256, so that a reader finds damage before it searches.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import tantivy

from aepo.tools.search.corpus import Document, Fingerprint
from aepo.tools.search.terms import ANALYSER, VERSION, add, analyser, schema

MANIFEST = "manifest.json"
_HEAP = 1 << 30


@dataclass(frozen=True)
class Manifest:
    """What a folder holds.

    Attributes:
        version: Of the way words are cut and documents stored.
        schema: The fields.
        documents: How many.
        corpus: SHA-256 of all documents.
        files: SHA-256 by name.
    """

    version: int
    schema: list[str]
    documents: int
    corpus: str
    files: dict[str, str]


_FIELDS = ["title: text, stored", "text: text, stored", "order: u64, fast"]


def build(documents: Iterable[Document], out: Path) -> Manifest:
    """Index documents into a new folder. They are read once and not kept in memory.

    Raises:
        FileExistsError: There is something at `out`.
        ValueError: There are no documents.
    """
    taken = FileExistsError(f"{out} exists already; remove it or give another folder")
    if out.exists():
        raise taken
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".unfinished", dir=out.parent))
    try:
        manifest = _written(documents, work)
        work.chmod(0o755)
        try:
            # A rename replaces nothing but an empty folder.
            work.rename(out)
        except OSError:
            raise taken from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return manifest


def opened(folder: Path) -> tuple[Manifest, tantivy.Index]:
    """What `build` made.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It is not a whole index of this version.
    """
    manifest = _manifest(folder)
    for name, digest in manifest.files.items():
        if not (folder / name).is_file() or _sha256(folder / name) != digest:
            raise ValueError(f"{folder}: the index is damaged ({name}); build it again with `aepo tools index`")
    # The library makes a lock file beside whatever it opens, which would need the right to write there.
    with tempfile.TemporaryDirectory(prefix="aepo-index-") as view:
        for name in manifest.files:
            os.symlink((folder / name).absolute(), Path(view) / name)
        try:
            index = tantivy.Index.open(view)
            index.register_tokenizer(ANALYSER, analyser())
            index.config_reader("Manual")
            whole = index.searcher().num_docs == manifest.documents
        except (ValueError, OSError) as error:
            raise ValueError(f"{folder}: this version of tantivy cannot read the index: {error}") from None
    if not whole:
        raise ValueError(f"{folder}: the index has not as many documents as its {MANIFEST} says; build it again")
    return manifest, index


def _written(documents: Iterable[Document], work: Path) -> Manifest:
    index = tantivy.Index(schema(stored=True), path=str(work), reuse=False)
    index.register_tokenizer(ANALYSER, analyser())
    writer = index.writer(heap_size=_HEAP, num_threads=1)
    fingerprint, count = Fingerprint(), 0
    try:
        for document in fingerprint.follow(documents):
            add(writer, count, document)
            count += 1
        if count == 0:
            raise ValueError("search: the corpus has no documents")
        writer.commit()
    except BaseException:
        writer.rollback()
        raise
    finally:
        # Its threads would go on writing into a folder that is being removed.
        writer.wait_merging_threads()
    names = sorted(path.name for path in work.iterdir() if path.name == "meta.json" or not path.name.startswith("."))
    files = {name: _sha256(work / name) for name in names}
    manifest = Manifest(VERSION, _FIELDS, count, fingerprint.digest(), files)
    for lock in work.glob(".*"):
        lock.unlink()
    (work / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")
    for path in work.iterdir():
        path.chmod(0o444)
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return manifest


def _manifest(folder: Path) -> Manifest:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder; build it with `aepo tools index`")
    try:
        data = json.loads((folder / MANIFEST).read_bytes())
        version = data["version"]
    except FileNotFoundError:
        raise ValueError(
            f"{folder}: not an index, or one that was not finished; build it with `aepo tools index`"
        ) from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ValueError(f"{folder}: {MANIFEST} is damaged; build the index again with `aepo tools index`") from None
    if version != VERSION:
        raise ValueError(f"{folder}: an index of version {version}, this is version {VERSION}; build it again")
    try:
        manifest = Manifest(**data)
        proper = all(Path(name).name == name and isinstance(digest, str) for name, digest in manifest.files.items())
        proper = proper and manifest.schema == _FIELDS and isinstance(manifest.documents, int)
    except (TypeError, AttributeError):
        proper = False
    if not proper:
        raise ValueError(f"{folder}: {MANIFEST} is damaged; build the index again with `aepo tools index`")
    return manifest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
