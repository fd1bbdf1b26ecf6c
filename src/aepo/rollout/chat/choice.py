"""Chooses the chat template of a run, the model's own or that of a file, with its arguments."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aepo.rollout.chat.base import Tokenizer
from aepo.rollout.chat.template import Template

FILE = "file"
"""The setting that names a file; all others are arguments of the template."""


def chosen_template(
    tokenizer: Tokenizer,
    schemas: tuple[dict[str, Any], ...] = (),
    date: datetime.date | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Template:
    """The template that `rollout.template` chooses.

    Args:
        tokenizer: The model's tokenizer.
        schemas: The tools for the template.
        date: Today's date for a template that asks for it.
        settings: `file`, the path of a template to use instead of the tokenizer's; any other name is an argument of the
            template.

    Raises:
        ValueError: There is no template, the file cannot be read, or the template does not read an argument.
    """
    arguments = dict(settings or {})
    path = arguments.pop(FILE, None)
    return Template(tokenizer, schemas, date, None if path is None else _read(path), arguments)


def _read(path: object) -> str:
    if not isinstance(path, str):
        raise ValueError(f"rollout.template.file is {path!r}: give the path of a *.jinja file")
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"rollout.template.file: cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"rollout.template.file: {path} is not UTF-8 text") from None
