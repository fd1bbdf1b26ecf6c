"""The schema a model reads: from type hints and Google docstrings, the same as transformers makes."""

from enum import Enum
from typing import Any, Literal, Optional

import pytest

from aepo.tools.base import tool


class Unit(Enum):
    METRE = "m"
    FOOT = "ft"


def convert(amount: float, unit: Literal["m", "ft"], digits: int = 2):
    """Convert a length.

    Args:
        amount: How much, in
            the unit.
        unit: Of the amount.
        digits: After the point.

    Returns:
        The length.
    """


def nested(words: list[str], table: dict[str, int], pairs: list[list[int]], anything: Any, plain: dict, bare: list):
    """Take containers.

    Args:
        words: Some words.
        table: Numbers by name.
        pairs: Lists in a list.
        anything: Whatever.
        plain: An object.
        bare: A list.
    """


def optional(name: Optional[str], size: int | None = None, either: int | str = 1, mixed: list[int] | None = None):  # noqa: UP045
    """Take what may be missing.

    Args:
        name: A name.
        size: A size.
        either: A number or a word.
        mixed: Numbers.
    """


def choices(unit: Unit, color: str, flag: bool = False):
    """Choose.

    Args:
        unit: A unit.
        color: A color. (choices: ["red", "blue"])
        flag: Whether.
    """


def nothing():
    """Take nothing."""


@pytest.mark.parametrize("function", [convert, nested, optional, choices, nothing])
def test_the_schema_is_the_one_that_transformers_makes(function: Any) -> None:
    get_json_schema = pytest.importorskip("transformers.utils").get_json_schema
    expected = get_json_schema(function)
    expected["function"].pop("return", None)
    assert tool(function).schema() == expected


def test_descriptions_defaults_and_choices_are_in_the_schema() -> None:
    made = tool(convert)
    assert made.name == "convert" and made.description == "Convert a length."
    assert made.parameters["required"] == ["amount", "unit"]
    assert made.parameters["properties"]["amount"] == {"type": "number", "description": "How much, in the unit."}
    assert made.parameters["properties"]["unit"]["enum"] == ["m", "ft"]


def test_a_missing_type_hint_is_named() -> None:
    def untyped(word):
        """Look up.

        Args:
            word: The word.
        """

    with pytest.raises(TypeError, match=r"^tool untyped: argument 'word' has no type hint; write e.g. 'word: str'$"):
        tool(untyped)


def test_an_argument_without_description_is_named() -> None:
    def undescribed(word: str, size: int):  # noqa: D417
        """Look up.

        Args:
            word: The word.
        """

    with pytest.raises(TypeError, match=r"^tool undescribed: argument 'size' is not described; add 'size: ...' under"):
        tool(undescribed)


def test_a_missing_docstring_is_named() -> None:
    def silent(word: str): ...

    with pytest.raises(TypeError, match=r"^tool silent: no docstring; write"):
        tool(silent)


def test_a_type_that_json_cannot_carry_is_named() -> None:
    def odd(word: complex):
        """Look up.

        Args:
            word: The word.
        """

    with pytest.raises(TypeError, match=r"^tool odd: argument 'word': type <class 'complex'> is not one that JSON"):
        tool(odd)


def test_star_arguments_are_refused() -> None:
    def many(*words: str):
        """Look up.

        Args:
            words: The words.
        """

    with pytest.raises(TypeError, match=r"^tool many: argument 'words' cannot be given by name"):
        tool(many)
