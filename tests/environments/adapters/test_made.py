"""A missing package says what to install, and a method is made of a description."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from pydantic import BaseModel, Field

from aepo.environments.adapters.made import forwarded, method, package


class Point(BaseModel):
    x: int


class Given(BaseModel):
    where: Point | dict[str, Any]
    what: str = Field(description="Two\nlines.")
    often: list[int] = Field(default_factory=lambda: [1], description="How often.")


class World:
    def _call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        return name, args, kwargs


def test_a_missing_package_says_in_one_line_what_to_install() -> None:
    with pytest.raises(ImportError, match=r"^no_such_thing does not load \(No module .*\): pip install no_such_thing$"):
        package("no_such_thing")


def test_a_method_has_the_fields_of_a_model_as_arguments() -> None:
    made = method("put", "Put it\nthere.", Given.model_fields)
    assert made(World(), where={"x": 1}, what="it") == ("put", (), {"where": {"x": 1}, "what": "it"})
    assert made.__doc__ == "Put it there.\n\nArgs:\n    where: where\n    what: Two lines.\n    often: How often."
    assert made.__annotations__ == {"where": dict[str, Any], "what": str, "often": list[int]}
    defaults = {name: parameter.default for name, parameter in inspect.signature(made).parameters.items()}
    assert defaults["often"] == [1] and defaults["what"] is inspect.Parameter.empty


def test_a_method_can_look_like_another_one() -> None:
    def add(self: Any, amount: int, name: str = "") -> int:
        """Add."""
        return amount

    made = forwarded(add)
    assert made(World(), 2, name="a") == ("add", (2,), {"name": "a"})
    assert inspect.isfunction(made) and inspect.signature(made) == inspect.signature(add) and made.__doc__ == "Add."
