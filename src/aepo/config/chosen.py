"""The type of `algorithm` in a configuration: a built-in one by name, or a user's class by "package.module:Class"."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import SerializeAsAny, ValidatorFunctionWrapHandler, WrapValidator

from aepo.algorithms import Algorithm, AnyAlgorithm
from aepo.files.modules import load_named


def own_algorithm(data: Any) -> type[Algorithm] | None:
    """The class that an algorithm's settings name as "package.module:Class"; None if they name a built-in one.

    Raises:
        ValueError: It cannot be imported, or is no algorithm.
    """
    name = data.get("name") if isinstance(data, dict) else None
    if not isinstance(name, str) or ":" not in name:
        return None
    found = load_named("class", name)
    if not (isinstance(found, type) and issubclass(found, Algorithm)):
        raise ValueError(f"class {name!r} is a {type(found).__name__}: name a subclass of aepo.Algorithm")
    return found


def _chosen(data: Any, one_of_ours: ValidatorFunctionWrapHandler) -> Any:
    if isinstance(data, Algorithm):
        return data
    own = own_algorithm(data)
    return one_of_ours(data) if own is None else own.model_validate(data)


ChosenAlgorithm: TypeAlias = Annotated[SerializeAsAny[AnyAlgorithm], WrapValidator(_chosen)]
