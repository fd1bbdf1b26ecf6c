"""Finds out by rendering how a chat template writes turns, calls and results, before a rollout."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace

from aepo.rollout.chat.check import check_append_only, writes_several
from aepo.rollout.chat.conventions import Conventions, TurnStart
from aepo.rollout.chat.formats import HARMONY, find_format
from aepo.rollout.chat.glue import learn_glue
from aepo.rollout.chat.shipped import instead_of
from aepo.rollout.chat.template import Template, message

_log = logging.getLogger(__name__)

_ONE = "You then get what it returned. Call one tool at a time."
_SEVERAL = (
    "You then get what it returned. To make calls that do not need each other's results, write one after the other in "
    "the same turn; they run together, and you get all results in their order."
)
_OPEN_THINK = re.compile(r"<think>\s*$")
_CLOSED_THINK = re.compile(r"</think>\s*$")


def learn_conventions(template: Template) -> Conventions:
    """Find out how a template writes, and check that it only appends.

    A template that changes earlier turns is replaced by a template of this package that otherwise writes the same, if
    there is one. A line reports this.

    Args:
        template: The model's template. If it ignores the tools, its system text describes them, unless that is empty.

    Raises:
        ValueError: The template changes earlier turns, hides results, or writes calls that are not understood.
    """
    try:
        return _learn(template)
    except ValueError as refusal:
        for name, other in instead_of(template):
            try:
                found = replace(_learn(other), shipped=name)
            except ValueError:
                continue
            _log.warning(
                "%s; the template %s of this package, which writes the same and keeps turns, is used instead",
                str(refusal).partition(":")[0],
                name,
            )
            return found
        raise


def _learn(template: Template) -> Conventions:
    shows = bool(template.schemas) and _shows_tools(template)
    form = find_format(template, shows)
    prompt = template.render(template.opening())
    opened = _OPEN_THINK.search(prompt)
    first = opened.group() if opened else ""
    glue = learn_glue(template, f"{first}thought\n</think>\n\n" if first else "", form.after_call)
    later = _OPEN_THINK.search(glue.after)
    start = TurnStart(first, later.group() if later else "", bool(_CLOSED_THINK.search(prompt)))
    found = Conventions(template, form, start, glue)
    found = replace(found, several=form is not HARMONY and writes_several(found))
    if shows:
        found = replace(found, described_by="template")
    elif template.schemas and template.system != "":
        text = f"{template.system or ''}\n\n{_description(template, found.several)}".strip()
        found = replace(found, template=replace(template, system=text), described_by="system")
    check_append_only(found)
    return found


def _shows_tools(template: Template) -> bool:
    question = [message("user", "question")]
    return template.try_render(question) not in (None, replace(template, schemas=()).try_render(question))


def _description(template: Template, several: bool) -> str:
    """The system text that describes the tools, for templates that do not; `several` allows several calls per turn."""
    schemas = "\n".join(json.dumps(schema["function"], ensure_ascii=False) for schema in template.schemas)
    return (
        f"You can call these tools:\n<tools>\n{schemas}\n</tools>\n"
        "To call one, write its name and its arguments as JSON, and end your turn:\n"
        '<tool_call>\n{"name": "the tool", "arguments": {"an argument": "its value"}}\n</tool_call>\n'
        f"{_SEVERAL if several else _ONE} When you know the answer, write it without a call."
    )
