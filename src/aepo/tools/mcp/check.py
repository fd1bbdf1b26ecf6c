"""Checks arguments against JSON schemas. It runs as a script, which is killed when it takes too long.

The checks are done by a library in Rust. It reads patterns as ECMA 262 defines them; each pattern takes linear time or
is given up. Nested `$ref`, `anyOf` and `allOf` can still double the work with each level: this is why the script runs
in a process of its own. It reads one question a line and writes its answer:

    [schema, arguments]  ->  {"refused": why} or {"fits": true or false, "skipped": patterns}
                             and after false one more line, {"errors": [[path, message], ...]}
"""

import json
import re
import resource
import sys
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import Any

from jsonschema_rs import ValidationError, ValidationErrorKind, validator_for

_MEMORY = 1 << 30
_MOST_ERRORS = 3
_MOST_SKIPPED = 100
# Under these keywords, leaving a keyword out can turn a yes into a no.
_TURNING = frozenset(["not", "if", "oneOf", "contains"])
# Many servers are written for JavaScript without the flag u. There `[\w-.]` means three things: `\w`, "-" and ".".
_DASH = re.compile(r"\\(.)-?", re.DOTALL)
_GIVEN_UP = (ValidationErrorKind.BacktrackLimitExceeded, ValidationErrorKind.RegexEngineFailure)


@lru_cache(maxsize=512)
def _compiled(text: str) -> tuple[Any, list[str]]:
    """Return the validator, and the patterns that it leaves out because this engine cannot read them."""
    schema, skipped = json.loads(text), list[str]()
    for _ in range(_MOST_SKIPPED):
        try:
            return validator_for(schema, offline=True), skipped
        except ValidationError as error:
            if "$schema" in schema and error.message.startswith("Unknown meta-schema"):
                del schema["$schema"]
                continue
            if error.kind.name != "format" or error.kind.value != "regex":
                raise
            pattern, path = str(error.instance), list(error.instance_path)
            if path[-1] == "pattern" and (other := _DASH.sub(_escaped, pattern)) != pattern:
                _at(schema, path[:-1])["pattern"] = other
                continue
            skipped.append(pattern)
            schema = _without(schema, path)
    return validator_for({"type": "object"}), skipped


def _without(schema: Any, path: list[Any]) -> Any:
    if _TURNING & set(map(str, path)):
        return {"type": "object"}
    *path, keyword = path
    gone = [keyword]
    if path and path[-1] == "patternProperties":
        # The other two keywords are about names that match no pattern, so they need all the patterns.
        path, gone = path[:-1], ["patternProperties", "additionalProperties", "unevaluatedProperties"]
    for name in gone:
        _at(schema, path).pop(name, None)
    return schema


def _at(schema: Any, path: list[Any]) -> Any:
    for step in path:
        schema = schema[step]
    return schema


def _escaped(escape: re.Match[str]) -> str:
    return escape[0].replace("-", r"\-") if escape[1] in "wWdDsS" else escape[0]


def _answers(schema: str, arguments: Any) -> Iterator[dict[str, Any]]:
    try:
        validator, skipped = _compiled(schema)
    except ValidationError as error:
        yield {"refused": error.message[:200]}
        return
    except (ValueError, RecursionError):
        yield {"refused": "nested too deep"}
        return
    fits = validator.is_valid(arguments)
    yield {"fits": fits, "skipped": skipped}
    if not fits:
        errors = (error for error in validator.iter_errors(arguments) if not isinstance(error.kind, _GIVEN_UP))
        yield {"errors": [[error.instance_path, error.message] for error in islice(errors, _MOST_ERRORS)]}


def main() -> None:
    """Answer questions until stdin ends."""
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin.buffer:
        for answer in _answers(*json.loads(line)):
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
