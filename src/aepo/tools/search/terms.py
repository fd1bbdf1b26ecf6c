"""How documents and queries are cut into words, and what an index keeps of them."""

from __future__ import annotations

from typing import Any

import tantivy

from aepo.tools.search.corpus import Document, valid

ANALYSER = "folded"
# To be raised when a word is cut or a document ranked in another way: old indexes are refused then.
VERSION = 1
_LONGEST_WORD = 64


def schema(stored: bool) -> tantivy.Schema:
    """Title and text by word and frequency, and the document's place in the corpus.

    Args:
        stored: The index keeps the texts too.
    """
    builder = tantivy.SchemaBuilder()
    for name in ("title", "text"):
        builder.add_text_field(name, stored=stored, tokenizer_name=ANALYSER, index_option="freq")
    return builder.add_unsigned_field("order", fast=True).build()


def analyser() -> tantivy.TextAnalyzer:
    """Lower case, no accents, no words of more than 64 bytes."""
    simple = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    for step in (tantivy.Filter.remove_long(_LONGEST_WORD), tantivy.Filter.lowercase(), tantivy.Filter.ascii_fold()):
        simple = simple.filter(step)
    return simple.build()


def add(writer: Any, order: int, document: Document) -> None:
    """Give the index writer one document."""
    entry = tantivy.Document(title=valid(document.title), text=valid(document.text))
    entry.add_unsigned("order", order)
    writer.add_document(entry)
