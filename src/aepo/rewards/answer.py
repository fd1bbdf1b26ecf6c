"""Answers of text questions: exact match and token F1 against the best alias (spec 6).

The normalisation is that of SQuAD except that it never makes two numbers equal: "-6" stays apart from "6", "1/2" from
"12", "3.5" from "35", "a + b" from "a - b".
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from aepo.boxed import unboxed
from aepo.rewards.base import targets as accepted
from aepo.rewards.money import without_money
from aepo.types import Sample, Trajectory

# Letters that Unicode does not decompose, signs with several code points, quotes that texts leave out.
_FOLD = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ŧ": "t", "ħ": "h"}
    | dict.fromkeys("‐‑‒–—―−﹣－", "-")
    | dict.fromkeys("⁄∕", "/")
    | dict.fromkeys("'’‘`´ʼʻ\"“”„«»", "")
)
_MARKS = re.compile(r"[\u0300-\u036f]")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_PIECE = re.compile(
    r"""
      (?P<minus>(?<![^\W\d_])-\s*(?=\.?\d|[a-z]\b|[\\(])) # a sign or a difference; after a letter it joins words
    | (?P<number>(?<=\d)/(?=\d) | (?<![^\W\d_])\.(?=\d))  # inside numbers
    | (?P<dot>\.(?!\d))                                   # D.C. is dc, No.5 is no 5
    | (?P<word>\w)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
# "Spider-Man", "AC/DC", "F-16", but not "p-q", "x-6" and "1990-1995"
_JOINT = re.compile(
    r"(?<=[^\W\d_]{2})[^\w\s<>=+^~|](?=\w)|(?<=[^\W\d_])[^\w\s<>=+^~|](?=[^\W\d_]{2})|(?<=[A-Z])[-‐‑](?=\d)"
)
_SPACING = re.compile(r"\\[,!]\s*|\{(?=,\})|(?<=\{,)\}")
_WRAPPED = re.compile(r"([-+]?)\s*\\text\{([^{}]*)\}\s*")
_ARTICLES = frozenset({"a", "an", "the"})
_CLOSED = frozenset({"yes", "no", "noanswer"})
_NUMBER = re.compile(r"[-+]?(?=\.?\d)(?:0|[1-9]\d*|[1-9]\d{0,2}(?:,\d{3})+)?(?:\.\d+)?(?:e[-+]?\d{1,3})?")


def fold(text: str) -> str:
    """Lower case, without accents and typographic variants; superscripts and fractions keep their own signs."""
    plain = "".join(
        c if unicodedata.decomposition(c).startswith(("<super>", "<sub>", "<fraction>")) else _compatible(c)
        for c in text
    )
    folded = _MARKS.sub("", unicodedata.normalize("NFD", plain.casefold()))
    return unicodedata.normalize("NFC", folded).translate(_FOLD)


def normalise(text: str) -> str:
    """Words in lower case, one space apart, without articles, accents and punctuation; numbers and operators stay."""
    words = "".join(map(_kept, _PIECE.finditer(_THOUSANDS.sub("", fold(text))))).split()
    return " ".join([w for w in words if w not in _ARTICLES] or words)


def number(text: str) -> Fraction | None:
    """The exact value of "-6", "1,234.50", "$18", "1/2" or "2.5e3"; None for anything else ("007", "5 km", "50%")."""
    return _valued(text)[0]


def same(answer: str, target: str) -> bool:
    """Whether two answers are equal: as numbers if both are numbers, else as normalised text.

    Two sums of money in different currencies are different. A sign inside a word may stand for nothing or for a space:
    "Spider-Man" is "Spiderman", as SQuAD has it, and "Spider Man".
    """
    (left, currency), (right, other) = _valued(answer), _valued(target)
    if left is not None and right is not None:
        return left == right and (not currency or not other or currency == other)
    if not normalise(answer) and not normalise(target):  # nothing but signs
        return bool(answer.strip()) and _signs(answer) == _signs(target)
    return any(words(answer) == words(target) for words in (normalise, _joined))


def exact_match(answer: str, targets: str | Sequence[str]) -> float:
    r"""1.0 if `answer`, or what its last `\boxed{}` holds, is one of `targets`, else 0.0."""
    return float(any(same(unboxed(answer), unboxed(t)) for t in _listed(targets)))


def token_f1(answer: str, targets: str | Sequence[str]) -> float:
    """Harmonic mean of precision and recall of words, `2 * shared / (len(answer) + len(target))`, best target.

    Two numbers either agree or score 0, and so does a yes or no that meets anything else.
    """
    return max((_f1(unboxed(answer), unboxed(t)) for t in _listed(targets)), default=0.0)


def exact(sample: Sample, trajectory: Trajectory) -> float:
    """Reward 1.0 if the answer is one of the sample's targets (numbers compare as numbers), else 0.0."""
    return exact_match(trajectory.answer or "", accepted(sample))


def f1(sample: Sample, trajectory: Trajectory) -> float:
    """Reward in [0, 1]: token F1 of the answer against the best of the sample's targets."""
    return token_f1(trajectory.answer or "", accepted(sample))


def _f1(answer: str, target: str) -> float:
    if same(answer, target):
        return 1.0
    if number(answer) is not None and number(target) is not None:
        return 0.0
    if not _CLOSED.isdisjoint(map(normalise, (answer, target))):
        return 0.0
    return max(_overlap(words(answer).split(), words(target).split()) for words in (normalise, _joined))


def _overlap(left_words: list[str], right_words: list[str]) -> float:
    shared = sum((Counter(left_words) & Counter(right_words)).values())
    return 2 * shared / (len(left_words) + len(right_words)) if shared else 0.0


def _listed(targets: str | Sequence[str]) -> Sequence[str]:
    return [targets] if isinstance(targets, str) else targets


def _compatible(char: str) -> str:
    return unicodedata.normalize("NFKC", char) if ord(char) > 127 else char


def _kept(piece: re.Match[str]) -> str:
    kind, text = piece.lastgroup, piece.group()
    if kind == "minus":
        before = piece.string[piece.start() - 1 : piece.start()]
        return "-" if not before or before.isspace() else " -"
    if kind == "dot":
        return ""
    if kind == "other":
        operator = unicodedata.category(text) == "Sm" or text == "^"
        return f" {text} " if operator and text != "~" else " "
    return text


def _signs(text: str) -> str:
    folded = fold(text).strip()
    return folded.strip(" .*") or folded


def _joined(text: str) -> str:
    """As `normalise`, with the signs inside words left out and not replaced by a space."""
    return normalise(_JOINT.sub("", text))


def _valued(text: str) -> tuple[Fraction | None, str]:
    plain, currency = without_money(fold(_SPACING.sub("", text)).strip()) if len(text) <= 200 else ("", "")
    if wrapped := _WRAPPED.fullmatch(plain.strip()):
        plain = wrapped[1] + wrapped[2]
    plain = plain.strip().removesuffix(".")
    sign, plain = ("-", plain[1:]) if plain.startswith("-") else ("", plain)
    above, slash, below = (sign + plain.strip()).partition("/")
    top, bottom = _decimal(above), _decimal(below) if slash else Fraction(1)
    return (top / bottom if top is not None and bottom else None), currency


def _decimal(text: str) -> Fraction | None:
    if len(text) > 200 or not text.isascii() or not _NUMBER.fullmatch(text):
        return None
    return Fraction(text.replace(",", ""))
