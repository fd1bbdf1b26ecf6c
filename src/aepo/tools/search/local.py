"""`Index` searches a corpus by BM25 over titles and texts, with tantivy; `LocalSearch` makes a search backend of it.

A query is not parsed as a query language: it is cut into words by the index's own analyser, and every word may match.
One thread writes one segment, so scores are the same in every process. Documents with equal scores keep their order.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

import anyio.to_thread
import tantivy

from aepo.tools.search import folder as on_disk
from aepo.tools.search.base import Hit
from aepo.tools.search.corpus import Document, Fingerprint
from aepo.tools.search.terms import ANALYSER, VERSION, add, analyser, schema, shown, spaced
from aepo.types import ToolError

_MOST_WORDS = 256
# A query over fewer documents takes less than a millisecond. A longer one would block the event loop.
_INLINE_DOCUMENTS = 100_000
_HEAP_LEAST, _HEAP_MOST = 64 << 20, 2 << 30


class Index:
    """A corpus that can be searched, from many threads at once."""

    def __init__(self, documents: Iterable[Document], title_boost: float = 2.0) -> None:
        """Index the documents in memory.

        Raises:
            ValueError: There are no documents.
        """
        fingerprint = Fingerprint()
        corpus = list(fingerprint.follow(documents))
        if not corpus:
            raise ValueError("search: the corpus has no documents")
        index = tantivy.Index(schema(stored=False))
        index.register_tokenizer(ANALYSER, analyser())
        # The heap must hold the whole corpus: a writer that fills its heap begins a second segment.
        size = sum(len(document.title) + len(document.text) for document in corpus)
        writer = index.writer(heap_size=min(_HEAP_MOST, _HEAP_LEAST + 8 * size), num_threads=1)
        for order, document in enumerate(corpus):
            add(writer, order, document, stored=False)
        writer.commit()
        writer.wait_merging_threads()
        index.reload()
        self._read(index, title_boost, len(corpus), fingerprint.digest(), corpus)

    @classmethod
    def open(cls, folder: str | PathLike[str], title_boost: float = 2.0) -> Index:
        """Open the index in a folder that `aepo tools index` made.

        Nothing is written there, and texts are read when they are needed.

        Raises:
            FileNotFoundError: There is no such folder.
            ValueError: The folder does not hold a complete index of this version.
        """
        manifest, index, view = on_disk.opened(Path(folder))
        made = cls.__new__(cls)
        weakref.finalize(made, on_disk.remove, view)
        made._read(index, title_boost, manifest.documents, manifest.corpus)
        return made

    def _read(
        self, index: tantivy.Index, title_boost: float, size: int, digest: str, corpus: list[Document] | None = None
    ) -> None:
        """Set the fields. If `corpus` is None, the index itself holds the documents."""
        self._searcher, self._schema, self._analyser = index.searcher(), index.schema, analyser()
        self._size, self._title_boost, self._corpus = size, title_boost, corpus
        self.version = f"{VERSION} {title_boost:g} {digest}"

    def __len__(self) -> int:
        """Return the number of documents."""
        return self._size

    def search(self, query: str, top_k: int) -> list[str]:
        """Return the texts of the best `top_k` documents, best first; equal ones keep the corpus's order.

        Raises:
            ToolError: The query has no words.
        """
        return [hit.text for hit in self.hits(query, top_k)]

    def hits(self, query: str, top_k: int) -> list[Hit]:
        """Return the best `top_k` documents in the order of `search`; line breaks in texts become spaces.

        Raises:
            ToolError: The query has no words.
        """
        words = list(dict.fromkeys(self._analyser.analyze(spaced(query, query=True))))[:_MOST_WORDS]
        if not words:
            raise ToolError("the query has no words")
        # A sum of the same parts in another order differs in the last digits. So more hits are asked for than needed,
        # and rounded scores are compared.
        found = self._searcher.search(self._query(words), limit=4 * top_k, count=False).hits
        orders = self._searcher.fast_field_values("order", [address for _, address in found])
        ranked = sorted(
            (-float(f"{score:.5g}"), int(order or 0), at)
            for at, ((score, _), order) in enumerate(zip(found, orders, strict=True))
        )
        return [self._hit(-score, found[at][1], order) for score, order, at in ranked[:top_k]]

    def _hit(self, score: float, address: Any, order: int) -> Hit:
        document = shown(self._searcher.doc(address)) if self._corpus is None else self._corpus[order]
        return Hit(document.title, "", " ".join(document.text.split()), score)

    def _query(self, words: list[str]) -> tantivy.Query:
        parts: list[tuple[Any, tantivy.Query]] = []
        for word in words:
            title = tantivy.Query.term_query(self._schema, "title", word, "freq")
            text = tantivy.Query.term_query(self._schema, "text", word, "freq")
            parts.append((tantivy.Occur.Should, tantivy.Query.boost_query(title, self._title_boost)))
            parts.append((tantivy.Occur.Should, text))
        return tantivy.Query.boolean_query(parts)


class LocalSearch:
    """A `SearchBackend` over an index.

    Attributes:
        index: The index to search.
        inline: True if the index is small enough to be searched in the event loop; others are searched in a thread.
    """

    name = "local"
    most_hits = 1000

    def __init__(self, index: Index) -> None:
        """Set the index, which also gives the version."""
        self.index, self.version = index, index.version
        self.inline = len(index) <= _INLINE_DOCUMENTS

    async def search(self, query: str, top_k: int) -> list[Hit]:
        """See `SearchBackend`."""
        if self.inline:
            return self.index.hits(query, top_k)
        # The tool already limits its calls. With the default limiter, unrelated tools would wait for each other.
        return await anyio.to_thread.run_sync(
            self.index.hits, query, top_k, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
        )
