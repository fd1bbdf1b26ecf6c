"""One row of a data set, and what is said when a field is missing.

Field names are compared without case, and with `_` and blanks alike: `Final answer` is `final_answer`, and Bamboogle's
`Question` is `question`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aepo.json_data import problem

QUESTION = ("question", "problem")
ANSWER = ("answer", "golden_answers")
_SHOWN_FIELDS = 20


class DataError(ValueError):
    """A data set cannot be read; one line says where and what to do."""


@dataclass(frozen=True)
class Row:
    """A row as it was read.

    Attributes:
        fields: Its values by name.
        place: Where it is from, e.g. "gsm8k.jsonl, line 3".
    """

    fields: Mapping[str, Any]
    place: str

    def text(self, *names: str) -> str:
        """The first of these fields that is there, as text; a number is written out.

        Raises:
            DataError: There is none, or it is blank, or something else than text and numbers.
        """
        name, value = self._first(names)
        return self._as_text(name, value)

    def texts(self, *names: str) -> list[str]:
        """The same of a field that holds one text or a list of them: an answer and its aliases, each once.

        Raises:
            DataError: As `text`, or the list is empty.
        """
        name, value = self._first(names)
        if not isinstance(value, list | tuple):
            return [self._as_text(name, value)]
        if not value:
            raise self.error(f"field {name!r} is an empty list")
        return list(dict.fromkeys(self._as_text(name, one) for one in value))

    def optional(self, *names: str) -> Any:
        """The first of these fields that is there and not null; None without one."""
        plain = {_plain(key): value for key, value in self.fields.items() if value is not None}
        return next((plain[_plain(name)] for name in names if _plain(name) in plain), None)

    def id(self, data_set: str, question: str, *names: str) -> str:
        """The publisher's id if the row has one of these fields, else one made of the question's text.

        Either stays the same when rows are left out or put in another order. A bare number gets the data set's name.
        """
        own = self.optional(*names)
        if own is None or (isinstance(own, str) and not own.strip()):
            return f"{data_set}-{hashlib.sha256(question.encode()).hexdigest()[:12]}"
        own = self._as_text("id", own)
        return f"{data_set}-{own}" if own.isdecimal() else own

    def kept(self, *names: str) -> dict[str, Any]:
        """Those of these fields that are there, for a sample's metadata.

        Raises:
            DataError: JSON cannot hold one.
        """
        found = {name: value for name in names if (value := self.optional(name)) is not None}
        for name, value in found.items():
            if (wrong := problem(value, f"field {name!r}")) is not None:
                raise self.error(wrong)
        return found

    def error(self, what: str) -> DataError:
        """An error about this row."""
        return DataError(f"{self.place}: {what}")

    def _first(self, names: tuple[str, ...]) -> tuple[str, Any]:
        for name in names:
            if (value := self.optional(name)) is not None:
                return name, value
        found = list(self.fields)
        listed = ", ".join(map(str, found[:_SHOWN_FIELDS])) + (", ..." if len(found) > _SHOWN_FIELDS else "")
        others = f" (or {', '.join(map(repr, names[1:]))})" if len(names) > 1 else ""
        raise self.error(f"no field {names[0]!r}{others}; found: {listed or 'no fields'}")

    def _as_text(self, name: str, value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.error(f"field {name!r} is a {type(value).__name__}, it must be text")
        if (wrong := problem(value, f"field {name!r}")) is not None:
            raise self.error(wrong)
        text = str(value).strip()
        if not text:
            raise self.error(f"field {name!r} is blank")
        return text


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_")
