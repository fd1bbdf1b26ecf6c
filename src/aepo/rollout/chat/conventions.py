"""Finds out by rendering how a chat template writes turns, calls and results, before a rollout."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from aepo.rollout.chat.base import ToolLike
from aepo.rollout.chat.check import TurnStart, check_append_only, check_calls_append_only, writes_several
from aepo.rollout.chat.formats import HARMONY, CallFormat, find_format
from aepo.rollout.chat.glue import Glue, learn_glue
from aepo.rollout.chat.shipped import instead_of
from aepo.rollout.chat.template import Template, tool_schema

_log = logging.getLogger(__name__)

_ONE = "You then get what it returned. Call one tool at a time."
_SEVERAL = (
    "You then get what it returned. To make calls that do not need each other's results, write one after the other in "
    "the same turn; they run together, and you get all results in their order."
)
_OPEN_THINK = re.compile(r"<think>\s*$")
_CLOSED_THINK = re.compile(r"</think>\s*$")


@dataclass(frozen=True)
class Conventions:
    """The way in which a chat template writes conversations.

    Attributes:
        template: The template that is used.
        shipped: Its name, if it is one of this package; None for the model's own.
        form: The format of calls.
        start: The beginning of turns.
        glue: The text around results.
        several: Whether a turn may have several calls.
        system: The system text; with the tools' descriptions if the template has none.
        described_by: The text that describes the tools to the model: "template", "system" or "nobody".
    """

    template: Template
    shipped: str | None
    form: CallFormat
    start: TurnStart
    glue: Glue
    several: bool
    system: str
    described_by: str


def learn_conventions(template: Template, tools: Sequence[ToolLike], system: str | None) -> Conventions:
    """Find out how a template writes, and check that it only appends.

    A template that changes earlier turns is replaced by a template of this package that otherwise writes the same, if
    there is one. A line reports this.

    Args:
        template: The model's template.
        tools: The tools that the model may call.
        system: The system text; None for the tools' descriptions, if the template ignores tools; empty for none.

    Raises:
        ValueError: The template changes earlier turns, hides results, or writes calls that are not understood.
    """
    try:
        return _learn(template, tools, system)
    except ValueError as refusal:
        for name, other in instead_of(template):
            try:
                found = replace(_learn(other, tools, system), shipped=name)
            except ValueError:
                continue
            _log.warning(
                "%s; the template %s of this package, which writes the same and keeps turns, is used instead",
                str(refusal).partition(":")[0],
                name,
            )
            return found
        raise


def _learn(template: Template, tools: Sequence[ToolLike], system: str | None) -> Conventions:
    shows = _shows_tools(template) if tools else False
    opening = template.opening(system or "", "question")
    caller = tools[0].name if tools else "tool"
    form = find_format(template, opening, shows)
    prompt = template.render(opening)
    opened = _OPEN_THINK.search(prompt)
    first = opened.group() if opened else ""
    glue = learn_glue(template, opening, f"{first}thought\n</think>\n\n" if first else "", form.after_call)
    later = _OPEN_THINK.search(glue.after)
    start = TurnStart(first, later.group() if later else "", bool(_CLOSED_THINK.search(prompt)))
    several = form is not HARMONY and writes_several(template, opening, glue, caller, start, form.after_call)
    text = system or ""
    if tools and not shows and system != "":
        text = f"{text}\n\n{describe(tools, several)}".strip()
        opening = template.opening(text, "question")
    if form.after_call:
        check_calls_append_only(template, opening, glue, caller)
    else:
        check_append_only(template, opening, glue, caller, start)
    told = "template" if shows else "system" if tools and system != "" else "nobody"
    return Conventions(template, None, form, start, glue, several, text, told)


def describe(tools: Sequence[ToolLike], several: bool) -> str:
    """The system text that describes the tools, for templates that do not; `several` allows several calls per turn."""
    schemas = "\n".join(json.dumps(tool_schema(tool)["function"], ensure_ascii=False) for tool in tools)
    return (
        f"You can call these tools:\n<tools>\n{schemas}\n</tools>\n"
        "To call one, write its name and its arguments as JSON, and end your turn:\n"
        '<tool_call>\n{"name": "the tool", "arguments": {"an argument": "its value"}}\n</tool_call>\n'
        f"{_SEVERAL if several else _ONE} When you know the answer, write it without a call."
    )


def _shows_tools(template: Template) -> bool:
    bare = replace(template, schemas=())
    question = bare.opening("", "question")
    return template.try_render(question) not in (None, bare.try_render(question))
