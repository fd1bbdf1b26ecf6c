"""Answers of text questions: exact match and token F1 against the best alias.

The normalisation is SQuAD's, except that it never makes two different numbers or terms equal: "-6" and "6", "1/2" and
"12", "3.5" and "35", "a + b" and "a - b".
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from aepo.boxed import unboxed
from aepo.rewards.base import targets as accepted
from aepo.rewards.money import rate, without_money
from aepo.types import Sample, Trajectory

# Letters that Unicode does not decompose, signs with several code points, and quotes.
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
_NUMBER = re.compile(r"[-+]?(?=\.?\d)(?:0|[1-9]\d*|[1-9]\d{0,2}(?:,\d{3})+)?(?:\.\d+)?(?:e[-+]?\d{1,3})?", re.ASCII)


def fold(text: str) -> str:
    """Lower case, without accents and typographic variants; superscripts and fractions stay as they are."""
    plain = text if text.isascii() else "".join(map(_compatible, text))
    folded = _MARKS.sub("", unicodedata.normalize("NFD", plain.casefold()))
    return unicodedata.normalize("NFC", folded).translate(_FOLD)


def normalise(text: str) -> str:
    """Words in lower case with single spaces, without articles, accents and punctuation; numbers and operators stay."""
    words = "".join(map(_kept, _PIECE.finditer(_THOUSANDS.sub("", fold(text))))).split()
    return " ".join([w for w in words if w not in _ARTICLES] or words)


@dataclass(frozen=True)
class AnswerReading:
    """An answer in a form for comparison by `agree`.

    Attributes:
        number: Its value, if it is a plain number or a sum of money.
        currency: "dollar", "euro", ...; "" if there is none.
        words: The normalised text, and the text with signs inside words removed instead of replaced by a space.
        signs: The text of an answer without words; None for a blank one.
    """

    number: Fraction | None
    currency: str
    words: tuple[str, str]
    signs: str | None


def read(text: str) -> AnswerReading:
    """Read an answer."""
    folded = fold(text).strip()
    signs = folded.strip(" .*") or folded
    return AnswerReading(
        *_valued(text), (normalise(text), normalise(_JOINT.sub("", text))), signs if text.strip() else None
    )


def number(text: str) -> Fraction | None:
    """The exact value of "-6", "1,234.50", "$18", "1/2" or "2.5e3"; None for other text ("007", "5 km", "50%")."""
    return _valued(text)[0]


def agree(answer: AnswerReading, target: AnswerReading) -> bool:
    """Whether two answers are equal: as numbers if both are numbers, else as normalised text.

    Two sums of money in different currencies are different. A sign inside a word can be removed or be a space:
    "Spider-Man" equals "Spiderman", as in SQuAD, and "Spider Man".
    """
    if answer.number is not None and target.number is not None:
        times = rate(answer.currency, target.currency)
        return times is not None and answer.number * times == target.number
    if not answer.words[0] and not target.words[0]:
        return answer.signs is not None and answer.signs == target.signs
    return any(one == other for one, other in zip(answer.words, target.words, strict=True))


def exact_match(answer: str, targets: str | Sequence[str]) -> float:
    r"""1.0 if `answer`, or the content of its last `\boxed{}`, is one of `targets`, else 0.0."""
    return _best(lambda said, target: float(agree(said, target)), answer, targets)


def token_f1(answer: str, targets: str | Sequence[str]) -> float:
    """Harmonic mean of precision and recall of words, `2 * shared / (len(answer) + len(target))`, best target.

    Two numbers that differ score 0, and so does yes or no against another answer.
    """
    return _best(_f1, answer, targets)


def exact(sample: Sample, trajectory: Trajectory) -> float:
    """Reward 1.0 if the answer is one of the sample's targets (numbers compare as numbers), else 0.0."""
    return exact_match(trajectory.answer or "", accepted(sample))


def f1(sample: Sample, trajectory: Trajectory) -> float:
    """Reward in [0, 1]: token F1 of the answer against the best of the sample's targets."""
    return token_f1(trajectory.answer or "", accepted(sample))


def _best(score: Callable[[AnswerReading, AnswerReading], float], answer: str, targets: str | Sequence[str]) -> float:
    said = read(unboxed(answer))
    listed = [targets] if isinstance(targets, str) else targets
    return max((score(said, read(unboxed(target))) for target in listed), default=0.0)


def _f1(answer: AnswerReading, target: AnswerReading) -> float:
    if agree(answer, target):
        return 1.0
    if None not in (answer.number, target.number) or not _CLOSED.isdisjoint((answer.words[0], target.words[0])):
        return 0.0
    pairs = zip(answer.words, target.words, strict=True)
    return max(_overlap(Counter(one.split()), Counter(other.split())) for one, other in pairs)


def _overlap(left: Counter[str], right: Counter[str]) -> float:
    shared = (left & right).total()
    return 2 * shared / (left.total() + right.total()) if shared else 0.0


def _compatible(char: str) -> str:
    kept = unicodedata.decomposition(char).startswith(("<super>", "<sub>", "<fraction>"))
    return char if kept else unicodedata.normalize("NFKC", char)


def _kept(piece: re.Match[str]) -> str:
    text = piece.group()
    operator = (unicodedata.category(text[0]) == "Sm" or text == "^") and text != "~"
    other = f" {text} " if operator else " "
    return {"minus": " -", "dot": "", "other": other}.get(piece.lastgroup or "", text)


def _valued(text: str) -> tuple[Fraction | None, str]:
    plain, currency = without_money(fold(_SPACING.sub("", text)).strip()) if len(text) <= 200 else ("", "")
    if wrapped := _WRAPPED.fullmatch(plain.strip()):
        plain = wrapped[1] + wrapped[2]
    plain = plain.strip().removesuffix(".")
    above, slash, below = re.sub(r"^-\s+", "-", plain).strip().partition("/")
    top, bottom = _decimal(above), _decimal(below) if slash else Fraction(1)
    return (top / bottom if top is not None and bottom else None), currency


def _decimal(text: str) -> Fraction | None:
    return Fraction(text.replace(",", "")) if _NUMBER.fullmatch(text) else None
