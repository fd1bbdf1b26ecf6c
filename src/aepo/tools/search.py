"""The `search` tool: a tantivy index over a local corpus, in memory, with BM25 over titles and texts.

A query is never parsed as a query language: it is cut into words by the index's own analyser and every word may match.
One thread writes one segment, so scores are the same in every process; equal scores keep the documents' order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import tantivy

from aepo.tools.base import Tool, tool
from aepo.types import ToolError

_ANALYSER = "folded"
_LONGEST_WORD = 64
_MOST_WORDS = 64
# A query over fewer documents takes less than a millisecond; over more it would hold up everything else.
_INLINE_DOCUMENTS = 100_000
_HEAP_LEAST, _HEAP_MOST = 64 << 20, 2 << 30


@dataclass(frozen=True)
class Document:
    """One entry of a corpus.

    Attributes:
        title: Searched, counts double; not shown.
        text: Searched and shown: it must speak for itself.
    """

    title: str
    text: str


class Index:
    """A corpus that can be searched, from many threads at once."""

    def __init__(self, documents: Iterable[Document], title_boost: float = 2.0) -> None:
        """Index the documents.

        Raises:
            ValueError: There is none.
        """
        corpus = list(documents)
        if not corpus:
            raise ValueError("search: the corpus has no documents")
        self._texts = [" ".join(document.text.split()) for document in corpus]
        self._title_boost = title_boost
        digest = hashlib.sha256(repr(title_boost).encode())
        for document in corpus:
            digest.update(json.dumps([document.title, document.text]).encode())
        self.digest = digest.hexdigest()[:16]
        """Names the corpus and how it is searched."""
        self._analyser = _analyser()
        builder = tantivy.SchemaBuilder()
        for name in ("title", "text"):
            builder.add_text_field(name, tokenizer_name=_ANALYSER, index_option="freq")
        self._schema = builder.add_unsigned_field("order", fast=True).build()
        index = tantivy.Index(self._schema)
        index.register_tokenizer(_ANALYSER, _analyser())
        # A writer that fills its heap begins a second segment.
        size = sum(len(document.title) + len(document.text) for document in corpus)
        writer = index.writer(heap_size=min(_HEAP_MOST, _HEAP_LEAST + 8 * size), num_threads=1)
        for order, document in enumerate(corpus):
            entry = tantivy.Document(title=_valid(document.title), text=_valid(document.text))
            entry.add_unsigned("order", order)
            writer.add_document(entry)
        writer.commit()
        writer.wait_merging_threads()
        index.reload()
        self._searcher = index.searcher()

    def __len__(self) -> int:
        """How many documents."""
        return len(self._texts)

    def search(self, query: str, top_k: int) -> list[str]:
        """The texts of the best `top_k` documents; best first, equal ones in the corpus's order.

        Raises:
            ToolError: The query has no words.
        """
        words = list(dict.fromkeys(self._analyser.analyze(_valid(query))))[:_MOST_WORDS]
        if not words:
            raise ToolError("the query has no words")
        # Sums of the same parts in another order differ in the last digits: look a little further, compare rounded.
        hits = self._searcher.search(self._query(words), limit=4 * top_k, count=False).hits
        orders = self._searcher.fast_field_values("order", [address for _, address in hits])
        ranked = sorted(
            (-float(f"{score:.5g}"), int(order or 0)) for (score, _), order in zip(hits, orders, strict=True)
        )
        return [self._texts[order] for _, order in ranked[:top_k]]

    def _query(self, words: list[str]) -> tantivy.Query:
        parts: list[tuple[Any, tantivy.Query]] = []
        for word in words:
            title = tantivy.Query.term_query(self._schema, "title", word, "freq")
            text = tantivy.Query.term_query(self._schema, "text", word, "freq")
            parts.append((tantivy.Occur.Should, tantivy.Query.boost_query(title, self._title_boost)))
            parts.append((tantivy.Occur.Should, text))
        return tantivy.Query.boolean_query(parts)


def search(
    documents: Iterable[Document] | str | PathLike[str],
    top_k: int = 3,
    name: str = "search",
    timeout: float = 10.0,
    concurrency: int = 32,
    max_characters: int = 4000,
) -> Tool:
    """A tool with one argument, `query`, over a corpus; it answers with one line a hit.

    Args:
        documents: The corpus, or the path of a JSON-lines file with "title" and "text" on each line.
        top_k: Hits shown.
        name: What the model writes.
        timeout: Seconds for one query.
        concurrency: Queries at once.
        max_characters: Longer answers are cut.

    Raises:
        FileNotFoundError: There is no file at the path.
        ValueError: The corpus is empty, `top_k` is not positive, or a line of the file is not a document.
    """
    if top_k < 1:
        raise ValueError(f"tool {name}: top_k is {top_k}, must be positive")
    index = Index(read_documents(documents) if isinstance(documents, str | PathLike) else documents)

    @tool(
        name=name,
        timeout=timeout,
        concurrency=concurrency,
        max_characters=max_characters,
        inline=len(index) <= _INLINE_DOCUMENTS,
        version=f"{index.digest}/{top_k}",
        pure=True,
    )
    def run_search(query: str) -> str:
        """Search the documents for some words and read the best matches.

        Args:
            query: The words to look for.
        """
        return "\n".join(f"- {text}" for text in index.search(query, top_k)) or "nothing found"

    return run_search


def read_documents(path: str | PathLike[str]) -> Iterator[Document]:
    """Documents of a JSON-lines file; blank lines are skipped.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line is not an object with the texts "title" (may be missing) and "text".
    """
    with Path(path).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                data = json.loads(line)
                title, text = data.get("title", ""), data["text"]
                if not (isinstance(title, str) and isinstance(text, str)):
                    raise TypeError
            except (json.JSONDecodeError, AttributeError, KeyError, TypeError):
                raise ValueError(f'{path}, line {number}: not an object with the texts "title" and "text"') from None
            yield Document(title, text)


def _valid(text: str) -> str:
    # A model's JSON may hold half a surrogate pair, which UTF-8 has no bytes for.
    return text.encode("utf-8", "replace").decode("utf-8")


def _analyser() -> tantivy.TextAnalyzer:
    simple = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    for step in (tantivy.Filter.remove_long(_LONGEST_WORD), tantivy.Filter.lowercase(), tantivy.Filter.ascii_fold()):
        simple = simple.filter(step)
    return simple.build()
