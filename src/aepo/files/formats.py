"""Lines of JSON that say the version of their format, so that lines of another version are refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


def to_line(form: int, fields: Mapping[str, Any]) -> str:
    """One JSON object, with `form` as its "format"."""
    return json.dumps({"format": form, **fields}, ensure_ascii=False)


def fields_of(line: str, form: int, what: str) -> dict[str, Any]:
    """The fields of a line of `to_line`, without "format".

    Raises:
        ValueError: It is no such object, or one of another format; `what` is its name in the message.
    """
    fields = json.loads(line)
    if not isinstance(fields, dict) or fields.pop("format", None) != form:
        raise ValueError(f"no {what} of format {form}")
    return fields


def from_line(line: str, form: int, what: str, kind: type[T]) -> T:
    """The dataclass whose fields `to_line` wrote; errors as of `fields_of`, also for a missing or a wrong field."""
    fields = fields_of(line, form, what)
    try:
        return _adapter(kind).validate_python(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"no {what}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


@lru_cache
def _adapter(kind: type[T]) -> TypeAdapter[T]:
    return TypeAdapter(kind)
