"""Writes an index to a folder and opens it. Many processes may read one folder; it is never changed.

The index is built in a temporary folder, which is then renamed. `manifest.json` is written last. It names every file
with its SHA-256, so that a reader finds damage before it searches.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import tantivy
from pydantic import TypeAdapter

from aepo.files.hashed import sha256_of
from aepo.tools.search.corpus import Document, Fingerprint
from aepo.tools.search.terms import ANALYSER, VERSION, add, analyser, schema

MANIFEST = "manifest.json"
_HEAP = 1 << 30


@dataclass(frozen=True)
class Manifest:
    """The contents of an index folder.

    Attributes:
        version: Version of the rules that cut words and store documents.
        schema: The fields of the index.
        documents: Number of documents.
        corpus: SHA-256 of all documents.
        files: SHA-256 of each file, by its name.
    """

    version: int
    schema: list[str]
    documents: int
    corpus: str
    files: dict[str, str]


_FIELDS = ["title: text", "text: text", "title shown: bytes, stored", "text shown: bytes, stored", "order: u64, fast"]


def build(documents: Iterable[Document], out: Path) -> Manifest:
    """Index documents into a new folder. They are read once and not kept in memory.

    Raises:
        FileExistsError: `out` exists already.
        ValueError: There are no documents.
    """
    taken = FileExistsError(f"{out} exists already; remove it or give another folder")
    if out.exists():
        raise taken
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".unfinished", dir=out.parent))
    try:
        whole = work / "whole"
        manifest = _written(documents, work / "building", whole)
        try:
            # A rename can replace an empty folder, but nothing else.
            whole.rename(out)
        except OSError:
            raise taken from None
    finally:
        remove(work)
    return manifest


def opened(folder: Path) -> tuple[Manifest, tantivy.Index, Path]:
    """Open an index that `build` made.

    Returns:
        The manifest, the index, and a folder of links that the caller must remove when the index is not used any more.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: The folder does not hold a complete index of this version.
    """
    manifest = _manifest(folder)
    for name, digest in manifest.files.items():
        if not (folder / name).is_file() or sha256_of(folder / name) != digest:
            raise ValueError(f"{folder}: the index is damaged ({name}); build it again with `aepo tools index`")
    # The library writes a lock file into the folder that it opens; a folder of links needs no right to write there.
    view = Path(tempfile.mkdtemp(prefix="aepo-index-"))
    try:
        for name in manifest.files:
            (view / name).symlink_to((folder / name).absolute())
        index = tantivy.Index.open(str(view))
        index.register_tokenizer(ANALYSER, analyser())
        index.config_reader("Manual")
        if index.searcher().num_docs != manifest.documents:
            raise ValueError(f"it has not the {manifest.documents} documents that {MANIFEST} says")
    except (ValueError, OSError) as error:
        remove(view)
        raise ValueError(f"{folder}: this version of tantivy cannot read the index: {error}") from None
    return manifest, index, view


def remove(folder: Path) -> None:
    """Remove a folder that tantivy has opened. It is removed twice, as tantivy's thread may make one more lock file."""
    for _ in range(2):
        shutil.rmtree(folder, ignore_errors=True)


def _written(documents: Iterable[Document], building: Path, whole: Path) -> Manifest:
    """Build the index in one folder, then move the files that belong to it into another."""
    building.mkdir()
    index = tantivy.Index(schema(stored=True), path=str(building), reuse=False)
    index.config_reader("Manual")
    index.register_tokenizer(ANALYSER, analyser())
    writer = index.writer(heap_size=_HEAP, num_threads=1)
    fingerprint, count = Fingerprint(), 0
    try:
        for document in fingerprint.follow(documents):
            add(writer, count, document, stored=True)
            count += 1
        if count == 0:
            raise ValueError("search: the corpus has no documents")
        writer.commit()
    except BaseException:
        writer.rollback()
        raise
    finally:
        # Otherwise its threads would write into the folder while it is removed.
        writer.wait_merging_threads()
    whole.mkdir()
    for path in building.iterdir():
        if not path.name.startswith("."):
            path.rename(whole / path.name)
    files = {path.name: sha256_of(path) for path in sorted(whole.iterdir())}
    manifest = Manifest(VERSION, _FIELDS, count, fingerprint.digest(), files)
    (whole / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")
    for path in whole.iterdir():
        path.chmod(0o444)
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return manifest


def _manifest(folder: Path) -> Manifest:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder; build it with `aepo tools index`")
    if not (folder / MANIFEST).is_file():
        raise ValueError(f"{folder}: not an index, or one that was not finished; build it with `aepo tools index`")
    problem = f"{MANIFEST} is damaged; build the index again with `aepo tools index`"
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        text = (folder / MANIFEST).read_bytes()
        if (version := json.loads(text)["version"]) != VERSION:
            versions = f"an index of version {version}, this is version {VERSION}"
            problem = f"{versions}: build it again with `aepo tools index`"
        else:
            manifest = TypeAdapter(Manifest).validate_json(text, strict=True)
            if manifest.schema == _FIELDS and all(Path(name).name == name for name in manifest.files):
                return manifest
    raise ValueError(f"{folder}: {problem}")
