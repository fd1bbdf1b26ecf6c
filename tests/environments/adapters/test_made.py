"""A missing package says what to install, and a method is made of a description."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from pydantic import BaseModel, Field

from aepo.environments.adapters.made import method, package


class Point(BaseModel):
    x: int


class Given(BaseModel):
    where: Point | dict[str, Any]
    what: str = Field(description="Two\nlines.")
    often: list[int] = Field(default_factory=lambda: [1], description="How often.")


def test_a_missing_package_says_in_one_line_what_to_install() -> None:
    with pytest.raises(ImportError, match=r"^no_such_thing does not load \(No module .*\): pip install no-such-thing$"):
        package("no_such_thing", "pip install no-such-thing")


def test_a_method_has_the_fields_of_a_model_as_arguments() -> None:
    made = method("put", "Put it\nthere.", Given, lambda self, values: (self, values))
    assert made("me", where={"x": 1}, what="it") == ("me", {"where": {"x": 1}, "what": "it"})
    assert made.__doc__ == "Put it there.\n\nArgs:\n    where: where\n    what: Two lines.\n    often: How often."
    assert made.__annotations__ == {"where": dict[str, Any], "what": str, "often": list[int]}
    defaults = {name: parameter.default for name, parameter in inspect.signature(made).parameters.items()}
    assert defaults["often"] == [1] and defaults["what"] is inspect.Parameter.empty
