"""Arguments checked by the JSON schema that a server gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from aepo.types import ToolError

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_DEEPEST = 64
_MOST_ERRORS = 3


def checker(schema: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """A `Tool.check` for a JSON schema; nothing is ever fetched for it.

    Raises:
        ValueError: It is no schema, not one of an object, or refers to something outside of itself.
    """
    from jsonschema import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for
    from referencing import Registry, Resource
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    if schema.get("type") != "object":
        raise ValueError(f'its arguments have the type {schema.get("type")!r}, not "object"')
    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"its arguments have no valid JSON schema: {error.message[:200]}") from None
    resolver = Registry().resolver_with_root(Resource.from_contents(schema, default_specification=DRAFT202012))
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except Unresolvable:
            raise ValueError(f"the schema of its arguments refers to {reference!r}, which it does not hold") from None
    return partial(_checked, kind(schema, registry=Registry()))


def _checked(validator: Validator, arguments: Mapping[str, Any]) -> dict[str, Any]:
    # What a model wrote may hold what cannot be sent: half a surrogate pair, NaN, a thousand lists in each other.
    try:
        text = json.dumps(dict(arguments), ensure_ascii=False, allow_nan=False)
        values: dict[str, Any] = json.loads(text.encode("utf-8", "replace"))
        if _depth(values) > _DEEPEST:
            raise ToolError(f"nested more than {_DEEPEST} deep")
        errors = list(islice(validator.iter_errors(values), _MOST_ERRORS))
    except RecursionError:
        raise ToolError("nested too deep") from None
    except (ValueError, TypeError, ArithmeticError) as error:
        raise ToolError(f"not plain JSON ({error})") from None
    if errors:
        raise ToolError("; ".join(_told(error.absolute_path, error.message) for error in errors))
    return values


def _told(path: Any, message: str) -> str:
    where = ".".join(map(str, path))
    return f"{where}: {message[:150]}" if where else message[:150]


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)
