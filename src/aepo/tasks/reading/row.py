"""One row of a data set, with errors that name the missing field.

Field names are compared without case, and `_` equals a blank: `Final answer` is `final_answer`, and Bamboogle's
`Question` is `question`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aepo.files.json_data import problem

QUESTION = ("question", "problem")
ANSWER = ("answer", "golden_answers")
_SHOWN_FIELDS = 20


class DataError(ValueError):
    """A data set cannot be read; the message gives the place and what to do."""


@dataclass(frozen=True)
class Row:
    """A row of a data set.

    Attributes:
        fields: Its values by name.
        place: Its place, e.g. "gsm8k.jsonl, line 3".
    """

    fields: Mapping[str, Any]
    place: str

    def text(self, *names: str) -> str:
        """The first existing one of these fields, as text; DataError if it is missing, blank, or no text or number."""
        name, value = self._first(names)
        return self._as_text(name, value)

    def texts(self, *names: str) -> list[str]:
        """The distinct texts of the first existing one of these fields, a text or a list; errors as of `text`."""
        name, value = self._first(names)
        if not isinstance(value, list | tuple):
            return [self._as_text(name, value)]
        if not value:
            raise self.error(f"field {name!r} is an empty list")
        return list(dict.fromkeys(self._as_text(name, one) for one in value))

    def optional(self, *names: str) -> Any:
        """The first of these fields that exists and is not null; None without one."""
        plain = {_plain(key): value for key, value in self.fields.items() if value is not None}
        return next((plain[_plain(name)] for name in names if _plain(name) in plain), None)

    def id(self, data_set: str, question: str, *names: str) -> str:
        """The publisher's id if the row has one of these fields, else a hash of the question's text.

        Neither depends on other rows or on their order. A plain number gets the data set's name as prefix.
        """
        own = self.optional(*names)
        if own is None or (isinstance(own, str) and not own.strip()):
            return f"{data_set}-{hashlib.sha256(question.encode()).hexdigest()[:12]}"
        own = self._as_text("id", own)
        return f"{data_set}-{own}" if own.isdecimal() else own

    def kept(self, *names: str) -> dict[str, Any]:
        """The existing ones of these fields, for a sample's metadata; DataError if JSON cannot hold one."""
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
