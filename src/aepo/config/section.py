"""A part of a configuration: frozen, and unknown keys are errors."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from aepo.files.paths import expanded


class ConfigError(ValueError):
    """The configuration cannot be used; one line says which key is wrong and what to write instead."""


class Section(BaseModel):
    """A part of the configuration."""

    # A folder may be called 001, which must stay a text.
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    @field_validator("*", mode="before")
    @classmethod
    def _home_folder(cls, value: Any) -> Any:
        return _expanded(value)


def _expanded(value: Any) -> Any:
    """The value with `~` at the start of texts expanded to the home folder, in lists and objects too."""
    if isinstance(value, str):
        return expanded(value)
    if isinstance(value, list):
        return [_expanded(inner) for inner in value]
    return {key: _expanded(inner) for key, inner in value.items()} if isinstance(value, dict) else value
