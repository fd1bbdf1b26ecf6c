"""Finds the format of a model's tool calls: the chat template writes a call, and the format must read it back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aepo.rollout.chat.formats.base import CallFormat
from aepo.rollout.chat.formats.glm import GLM
from aepo.rollout.chat.formats.harmony import HARMONY
from aepo.rollout.chat.formats.json_tags import JSON
from aepo.rollout.chat.formats.mistral import MISTRAL
from aepo.rollout.chat.formats.pythonic import PYTHONIC
from aepo.rollout.chat.formats.xml import XML
from aepo.rollout.chat.template import Template, calling
from aepo.types import ToolCall

FORMATS = (HARMONY, MISTRAL, XML, GLM, PYTHONIC, JSON)
# The two texts may differ only inside a tag.
_INSIDE_TAG = re.compile(r"<[^<>\s]*\Z")


@dataclass(frozen=True)
class _Sentinel:
    name: str = "aepo_sentinel_tool"
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)


_TOOL = _Sentinel()
_ARGUMENTS = {"value": "aepo sentinel"}


def find_format(template: Template, described: bool) -> CallFormat:
    """The format in which a template writes a call. If it writes none, the model's tokens decide, else it is JSON.

    Args:
        template: The template.
        described: Whether the template describes the tools to the model. If it does not, the system text does, and asks
            for JSON.

    Raises:
        ValueError: The template describes the tools, but no format reads its calls, or it cannot write any.
    """
    opening, complaint = template.opening(), ""
    prompt = template.render(opening)
    for given in (_ARGUMENTS, json.dumps(_ARGUMENTS)):
        try:
            rendered = template.render([*opening, calling((_TOOL.name, given))], generation_prompt=False)
        except ValueError as refusal:
            complaint = complaint or " ".join(str(refusal.__cause__).split())
            continue
        same = _INSIDE_TAG.sub("", rendered[: common(prompt, rendered)])
        written = rendered[len(same) :].rpartition("</think>")[2]
        if _ARGUMENTS["value"] not in written:
            return _by_tokens(template)
        for form in FORMATS:
            if any(_reads(form, text) for text in _without_end(template, written)):
                return form if described or form is HARMONY else JSON
        if not described:
            return JSON
        raise ValueError(
            f"the chat template writes tool calls as {written.strip()[:80]!r}, which is not understood (read are: "
            f"{'; '.join(form.name for form in FORMATS)}): use protocol: tags, or another chat template"
        )
    if described:
        raise ValueError(
            f"the chat template describes tools, but cannot write a tool call ({complaint}): "
            "use protocol: tags, or another chat template"
        )
    return JSON


def common(one: str, other: str) -> int:
    """Length of the common prefix, in characters."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _by_tokens(template: Template) -> CallFormat:
    """The format of a template that writes no calls: that of the model's tokens for calls, else JSON."""
    control = template.control_tokens()
    return next((form for form in FORMATS if form.tokens and control.keys() >= set(form.tokens)), JSON)


def _reads(form: CallFormat, text: str) -> bool:
    return form.find(text, {_TOOL.name: _TOOL}) == (ToolCall(_TOOL.name, _ARGUMENTS),)


def _without_end(template: Template, written: str) -> Iterator[str]:
    """The text up to each control token after the call's argument; the turn ends with one of them."""
    yield written
    last = written.rindex(_ARGUMENTS["value"])
    ends = {written.find(token, last) for token in template.control_tokens()}
    yield from (written[:end] for end in sorted(ends) if end >= 0)
