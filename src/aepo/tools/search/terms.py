"""How documents and queries are cut into words, in every script, and what an index keeps of them.

A text is folded, spaced so that each word stands alone, and split at the spaces by the index's analyser. Scripts
without spaces between words are told by the Unicode property Line_Break (UAX #14): where a line may break between any
two characters, each two neighbours are a word, and in documents each character too.
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
# To be raised when a word is cut or a document ranked in another way: old indexes are refused then.
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
    """What a character becomes: nothing, a digit, or itself; for `str.translate`."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        accent = unicodedata.combining(character)
        if 10 <= accent <= 36 or accent >= 200 or unicodedata.category(character) == "Cf":
            # Accents, the vowel points of Hebrew and Arabic, and signs that only format. Other marks are letters.
            folded = ""
        else:
            folded = str(unicodedata.decimal(character, character))
        self[code] = folded
        return folded


_FOLDING = _Folding()


def spaced(text: str, query: bool = False) -> str:
    """The text as its words, each between spaces; a query is only the pairs of a run that has two characters or more.

    The same word written in another way is the same: case, accents, width, digits of another script.
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
    """Title and text by word and frequency, and the document's place in the corpus.

    Args:
        stored: The index keeps the texts too, as they are.
    """
    builder = tantivy.SchemaBuilder()
    for name in ("title", "text"):
        builder.add_text_field(name, stored=False, tokenizer_name=ANALYSER, index_option="freq")
        if stored:
            builder.add_bytes_field(f"{name} shown", stored=True, indexed=False)
    return builder.add_unsigned_field("order", fast=True).build()


def analyser() -> tantivy.TextAnalyzer:
    """For spaced texts: lower case, letters such as ø as their nearest of ASCII, no words of more than 200 bytes."""
    made = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace())
    for step in (tantivy.Filter.remove_long(_LONGEST_WORD), tantivy.Filter.lowercase(), tantivy.Filter.ascii_fold()):
        made = made.filter(step)
    return made.build()


def add(writer: Any, order: int, document: Document, stored: bool) -> None:
    """Give the index writer one document."""
    entry = tantivy.Document(title=spaced(document.title), text=spaced(document.text))
    if stored:
        entry.add_bytes("title shown", document.title.encode("utf-8", "replace"))
        entry.add_bytes("text shown", document.text.encode("utf-8", "replace"))
    entry.add_unsigned("order", order)
    writer.add_document(entry)


def shown(fields: Any) -> Document:
    """A document as it was given, from what the index stores of it."""
    title, text = (fields[f"{name} shown"][0].decode("utf-8") for name in ("title", "text"))
    return Document(title, text)
