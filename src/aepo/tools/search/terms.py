"""Cuts documents and queries into words, in every script, and gives them to an index.

A text is folded (case and accents are removed), spaces are put around each word, and the index's analyser splits it at
the spaces. Some scripts have no spaces between words. They are found by the Unicode property Line_Break (UAX #14): a
line may break between any two of their characters. There each two neighbours are a word, and in documents each
character too.
"""

from __future__ import annotations

import unicodedata
from functools import partial
from itertools import pairwise
from typing import Any

import regex
import tantivy

from aepo.tools.search.corpus import Document, valid

ANALYSER = "spaced"
# Raise this when the rules for words or ranking change: old indexes are then refused.
VERSION = 2
_LONGEST_WORD = 200  # bytes

_ASCII = {code: " " for code in range(128) if not chr(code).isalnum()}
_BREAKING = "".join(rf"\p{{lb={name}}}" for name in ("SA", "ID", "CJ", "NS", "H2", "H3", "AK", "AS"))
_RUN = regex.compile(rf"(?V1)(?:[[{_BREAKING}]&&[\p{{L}}\p{{N}}]]\p{{M}}*)+")
_CHARACTER = regex.compile(r".\p{M}*", regex.DOTALL)
_WORD = regex.compile(
    r"(?V1)[\p{Alphabetic}\p{N}][\p{Alphabetic}\p{N}\p{M}]*"
    r"|[\p{Extended_Pictographic}--[\x00-\xff]]|\p{Regional_Indicator}{2}"
)


class _Folding(dict[int, str]):
    """A table for `str.translate`: it removes a character, makes it a digit, or keeps it."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        accent = unicodedata.combining(character)
        if 10 <= accent <= 36 or accent >= 200 or unicodedata.category(character) == "Cf":
            # These are accents, the vowel points of Hebrew and Arabic, and format signs. Other marks act as letters.
            folded = ""
        else:
            folded = str(unicodedata.decimal(character, character))
        self[code] = folded
        return folded


_FOLDING = _Folding()


def spaced(text: str, query: bool = False) -> str:
    """Put spaces around each word of a text, and fold case, accents, width and digits of other scripts.

    In scripts without spaces, a query has only the pairs of a run of two or more characters; a document also has each
    character.
    """
    if text.isascii():
        return text.translate(_ASCII)
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", valid(text)).casefold())
    whole = unicodedata.normalize("NFC", folded.translate(_FOLDING))
    return " ".join(_WORD.findall(_RUN.sub(partial(_cut, query), whole)))


def _cut(query: bool, run: Any) -> str:
    characters = _CHARACTER.findall(run[0])
    pairs = [first + second for first, second in pairwise(characters)]
    return f" {' '.join(pairs if query and pairs else [*characters, *pairs])} "


def schema(stored: bool) -> tantivy.Schema:
    """Make the schema: title and text by word and frequency, and the document's place in the corpus.

    Args:
        stored: True if the index also keeps the unchanged texts.
    """
    builder = tantivy.SchemaBuilder()
    for name in ("title", "text"):
        builder.add_text_field(name, stored=False, tokenizer_name=ANALYSER, index_option="freq")
        if stored:
            builder.add_bytes_field(f"{name} shown", stored=True, indexed=False)
    return builder.add_unsigned_field("order", fast=True).build()


def analyser() -> tantivy.TextAnalyzer:
    """Make the analyser for spaced texts: lower case, nearest ASCII letters (ø to o), no words of over 200 bytes."""
    made = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace())
    for step in (tantivy.Filter.remove_long(_LONGEST_WORD), tantivy.Filter.lowercase(), tantivy.Filter.ascii_fold()):
        made = made.filter(step)
    return made.build()


def add(writer: Any, order: int, document: Document, stored: bool) -> None:
    """Add a document to the index."""
    entry = tantivy.Document(title=spaced(document.title), text=spaced(document.text))
    if stored:
        entry.add_bytes("title shown", document.title.encode("utf-8", "replace"))
        entry.add_bytes("text shown", document.text.encode("utf-8", "replace"))
    entry.add_unsigned("order", order)
    writer.add_document(entry)


def shown(fields: Any) -> Document:
    """Restore a document from the fields that the index stores."""
    title, text = (fields[f"{name} shown"][0].decode("utf-8") for name in ("title", "text"))
    return Document(title, text)
