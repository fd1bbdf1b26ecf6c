r"""Normalises the text of formulas: `\text{\$32,\!348}` and `The answer is $32,348.` both become `32348` in dollars.

`verify.py` compares the values. Commands that math-verify reads, such as `\dfrac`, stay.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from aepo.boxed import unboxed
from aepo.rewards.money import without_money

LONGEST = 2000
"""Most characters of a formula; a longer text is not one."""

_SIGNS = str.maketrans({
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "×": r"\times ", "⋅": r"\cdot ", "·": r"\cdot ", "∙": r"\cdot ",
    "÷": "/", "⁄": "/", "∕": "/", "∞": r"\infty ", "π": r"\pi ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ",
    "λ": r"\lambda ", "φ": r"\phi ", "ω": r"\omega ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "±": r"\pm ",
    "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "°": r"^\circ ", "º": r"^\circ ",
    "√": r"\sqrt ", "∛": r"\sqrt[3] ", "’": "'", "‘": "'", "“": '"', "”": '"',
})  # fmt: skip
_SHIFTED = re.compile("(?P<raised>[⁰¹²³⁴-⁹⁺⁻ⁿⁱ]+)|(?P<lowered>[₀-₉]+)|(?P<vulgar>[¼-¾⅐-⅞])")

_LEAD = re.compile(r"^.*\banswer\b(?:\s+is\b|\s*[:=])+\s*|^[a-z][a-z ]{2,}:\s*", re.IGNORECASE | re.DOTALL)
_EDGES = re.compile(r"^[\s*`]+|[\s*`.]+$")
_SCALES = {"dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_WORDS = re.compile(r"(?:\\text\{\s*)?([^\W\d_]++(?:[' .,-]++[^\W\d_]++)*+)\s*\}?")

_FONTS = "math(?:rm|bf|it|sf)|text(?:bf|it|rm|normal)|mbox|operatorname|boldsymbol|underline|bm"
_TIDY = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        (r"(?<=\d)(?:\{,\}|,\\!\s*)(?=\d)", ","),
        (r"(?<=\d)(?<!\d{4})(?:\\[,! ]|[ ~])(?=\d{3}(?:\D|$))", ","),  # 1\,000 and 1 000
        (r"(?<!\\)\\[,;:!> ]|\\q?quad(?![a-zA-Z])|~|\\displaystyle(?![a-zA-Z])", " "),
        (r"\\(?:left|right)\.|\\(?:left|right|[bB]igg?[lrm]?)(?![a-zA-Z])", ""),
        (rf"\\(?:{_FONTS})\s*(?=\{{)", r"\\text"),
        (r"(?<![\\a-zA-Z])(sqrt|frac)(?=\{)", r"\\\1"),
        (r"^\s*\\text\{([^{}]*[\d()][^{}]*)\}\s*$", r"\1"),
        (r"^\s*\(?([A-Z])[).]*\s*$", r"\1"),  # a letter of multiple choice
        (r"\s*(?:\\text\{)?\s*(?<![a-zA-Z])(?:percent(?:age)?|per cent|pct)(?![a-zA-Z])\s*\}?|\\?%", r"\\%"),
        (r"(?<=\d)\s*(?:\^?\{?\\text\{\s*(?:st|nd|rd|th)\s*\}\}?|(?:st|nd|rd|th)(?![a-zA-Z]))", ""),
        (r"(?<![\w.\\])(\d+\.?\d*|\.\d+)[eE]([-+]?\d+)(?![\w.])", r"\1\\times 10^{\2}"),
        (r"(?<![\d.,/^_{])(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d.,/])", r"\1\\frac{\2}{\3}"),  # a mixed number
        (r"\\sqrt(\[3\])?\s*(?:\(([^()]*)\)|(\d+|[a-zA-Z](?![a-zA-Z])))", r"\\sqrt\1{\2\3}"),
        (r"\s*,?\s*(?:\\text\{\s*(?:and|or)\s*\}|(?<![a-zA-Z])(?:and|or)(?![a-zA-Z]))\s*", ","),
        (r"\s*\(?(?:\\text\{\s*)?\(?(?<![a-zA-Z])(?:in )?base[\s-]+(\w+)\)?\s*\}?\)?$", r"_{\1}"),
        (r"\s+", " "),
    )
)
_SCALE = re.compile(rf"(?<=[\d}}])\s*(?P<text>\\text\{{)?\s*(?<![a-zA-Z])(?P<scale>{'|'.join(_SCALES)})s?(?![a-zA-Z])")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_BASE = re.compile(
    r"(?<![\w\\])(?P<digits>(?=[\dA-F]*\d)[\dA-F]+)\s*_\s*"
    r"(?:\{\s*\\text\{\s*(\w+)\s*\}\s*\}|\\text\{\s*(\w+)\s*\}|\{\s*(\w+)\s*\}|(\w+))"
)
_SPELLED = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
_SPELLED |= {"eleven": 11, "twelve": 12, "sixteen": 16}
_IGNORED = re.compile(r"(?<!\d)\s+|\s+(?!\d)|\\text(?=\{)")
_SINGLE = re.compile(r"\{(\w)\}")


@dataclass(frozen=True)
class Formula:
    r"""A formula in normalised form.

    Attributes:
        text: LaTeX, or the output of SymPy or a calculator, without signs of formulas and of money.
        currency: "dollar", "euro", ...; "" if there is none.
    """

    text: str
    currency: str

    @property
    def bare(self) -> str:
        r"""The text without spaces, braces around one sign, and `\text`."""
        return _SINGLE.sub(r"\1", _IGNORED.sub("", self.text))

    @property
    def words(self) -> str | None:
        """The text if it consists of words, else None."""
        found = _WORDS.fullmatch(self.text)
        return found[1] if found and re.search(r"[^\W\d_]{3}", found[1]) else None

    @property
    def bases(self) -> Counter[str]:
        """The bases of its numbers; that of 2516_8 is 8."""
        return Counter(number[number.lastindex or 0] for number in _BASE.finditer(self.text))

    @property
    def kind(self) -> str:
        r"""The outer brackets: "set" for `\{1, 2\}` and Python's `{1, 2}`, "tuple" for `(1, 2)`, else ""."""
        if re.fullmatch(r"\\?\{.*\}", self.text, re.DOTALL):
            return "set"
        return "tuple" if re.fullmatch(r"\(.*\)", self.text, re.DOTALL) else ""


def formula(text: str) -> Formula:
    r"""The normalised form of `text`, or of the content of its last `\boxed{}`; empty if it is too long."""
    answer = unboxed(text)
    if len(answer) > LONGEST:
        return Formula("", "")
    plain, currency = without_money(_latin(answer))
    plain = _EDGES.sub("", _LEAD.sub("", _EDGES.sub("", plain)))
    for pattern, tidy in _TIDY:
        plain = pattern.sub(tidy, plain)
    plain = _SCALE.sub(lambda m: rf"\times {_SCALES[m['scale']]}{m['text'] or ' '}", plain)
    plain = _THOUSANDS.sub(lambda m: m[0] if _inside(m.string[: m.start()]) else m[0].replace(",", ""), plain)
    plain = _BASE.sub(lambda m: f"{m['digits']}_{{{_SPELLED.get(m[m.lastindex or 0], m[m.lastindex or 0])}}}", plain)
    return Formula(_EDGES.sub("", plain), currency)


def _latin(text: str) -> str:
    r"""Unicode signs as LaTeX: `x²` is x^{2}, `3½` is 3\frac{1}{2}, `√12` is \sqrt 12."""
    shifted = _SHIFTED.sub(_shifted, text).translate(_SIGNS)
    return "".join(c if ord(c) < 128 or c in "€£¥" else unicodedata.normalize("NFKC", c) for c in shifted)


def _shifted(signs: re.Match[str]) -> str:
    plain = unicodedata.normalize("NFKC", signs[0]).replace("−", "-")
    if signs.lastgroup == "vulgar":
        above, _, below = plain.partition("⁄")
        return rf"\frac{{{above}}}{{{below}}}"
    return f"^{{{plain}}}" if signs.lastgroup == "raised" else f"_{{{plain}}}"


def _inside(before: str) -> bool:
    return sum(before.count(left) - before.count(right) for left, right in ("()", "[]", "{}")) > 0
