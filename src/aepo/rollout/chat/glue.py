"""Finds the text that a chat template writes between two assistant turns, by rendering sentinels once."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from aepo.rollout.chat.template import MessageDict, Template, call_id, calling, message

_CALLERS = ("aepo_sentinel_tool", "aepo_sentinel_next")
_RESULTS = ('first "line" \\ <b>\nlast é line', 'other "line" \\ <i>\nlast ü line')
_TURN = "aepo sentinel turn"
_NO_ROLE = "zzqx"

NamedResult = tuple[str, str]
"""The text of a tool result, and the name of the tool."""


@dataclass(frozen=True)
class Glue:
    """The template's own text around tool results.

    Attributes:
        end: The control token that ends the assistant's turn. The policy samples it.
        before: The text from there to the first result.
        between: The text from one result to the next one; None if the template cannot write several.
        after: The text from the last result to the start of the assistant's next turn.
        role: "tool" if the template knows that role; "user" if results are a user's `<tool_response>`.
        quoted: Whether the template writes results as JSON strings (Llama 3).
    """

    end: int
    before: str
    between: str | None
    after: str
    role: str
    quoted: bool

    def messages(self, results: Sequence[NamedResult]) -> list[MessageDict]:
        """The results of a turn as messages for the template."""
        return _result_messages(self.role, results)

    def text(self, results: Sequence[NamedResult], ids: Sequence[str | None] = ()) -> str:
        """The text between the turn's end token and the next turn.

        Args:
            results: The results of the turn's calls.
            ids: The ids that the policy gave to its calls; a missing one is `call_id`.
        """
        given = [*ids, *[None] * len(results)][: len(results)]
        named = [id or call_id(number) for number, id in enumerate(given, 1)]
        parts = [_filled(self.before, named, results[0][1])]
        for at, (text, caller) in enumerate(results):
            parts.append(_shown(text, self.quoted))
            if at + 1 < len(results):
                assert self.between is not None
                parts.append(_filled(self.between, named[at:], caller, results[at + 1][1]))
        return "".join([*parts, _filled(self.after, named[-1:], results[-1][1])])

    def encode(self, template: Template, results: Sequence[NamedResult], ids: Sequence[str | None] = ()) -> list[int]:
        """The result of `text` as ids, encoded as after the end token in the whole conversation."""
        behind = template.encode(template.decode([self.end]) + self.text(results, ids))
        return behind[1:]


def learn_glue(template: Template, thought: str, after_call: bool) -> Glue:
    """Render a tool loop of sentinels and cut out the text around the results.

    Args:
        template: The template.
        thought: Start of a turn that closes its thinking; mostly empty.
        after_call: Whether the turn is a call in the form of messages, because the template wants one before a result.

    Raises:
        ValueError: The template rewrites turns, ends them without a control token, or shows no result in either role.
    """
    opening, turns = template.opening(), [message("assistant", thought + _TURN)] * 2
    if after_call:
        turns = [calling(*zip(_CALLERS[:count], [{"value": _TURN}] * count, strict=True)) for count in (1, 2)]
    sentinels = list(zip(_RESULTS, _CALLERS, strict=True))
    roles = ("tool", "user") if after_call or _knows_tool_role(template, [*opening, turns[0]]) else ("user",)
    for role in roles:
        rendered = template.try_render([*opening, turns[0], *_result_messages(role, sentinels[:1])])
        if rendered is None:
            continue
        if rendered.count(_TURN) != 1:
            raise ValueError(
                "the chat template does not keep an assistant's turn as it was written once a tool result follows: "
                "use protocol: tags, or a chat template that only appends"
            )
        rest = _behind(template, rendered, after_call)
        for quoted in (False, True):
            if rest.count(_shown(_RESULTS[0], quoted)) == 1:
                two = template.try_render([*opening, turns[1], *_result_messages(role, sentinels)]) or ""
                return _cut(template, rest, _behind(template, two, after_call), role, quoted)
    raise ValueError(
        "the chat template does not show the text of tool results, neither as role tool nor as role user: "
        "use protocol: tags, or another chat template"
    )


def _behind(template: Template, rendered: str, after_call: bool) -> str:
    """The text after the turn. A turn that is a call ends at the first control token after the call's argument."""
    rest = rendered.rpartition(_TURN)[2]
    ends = [rest.find(token) for token in template.control_tokens()] if after_call else []
    return rest[min((at for at in ends if at >= 0), default=0) :]


def _cut(template: Template, one: str, two: str, role: str, quoted: bool) -> Glue:
    first = template.encode(one)[0]
    end = template.decode([first])
    if first not in template.control_tokens().values() or not one.startswith(end):
        raise ValueError(
            f"the chat template ends the assistant's turn with {one[:12]!r}, not with a special token: "
            "use protocol: tags, or another chat template"
        )
    before, shown, after = one[len(end) :].partition(_shown(_RESULTS[0], quoted))
    head, _, rest = two[len(end) :].partition(shown)
    between, found, _ = rest.partition(_shown(_RESULTS[1], quoted))
    return Glue(first, before, between if found and head == before else None, after, role, quoted)


def _shown(text: str, quoted: bool) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1] if quoted else text


def _filled(glue: str, ids: Sequence[str], *callers: str) -> str:
    """The text with the names and ids in place of the sentinels' own."""
    for at, caller in enumerate(callers):
        glue = glue.replace(_CALLERS[at], caller)
    given = {call_id(at): id for at, id in zip((1, 2), ids, strict=False)}
    return re.sub("|".join(given), lambda found: given[found.group()], glue) if given else glue


def _knows_tool_role(template: Template, before: Sequence[MessageDict]) -> bool:
    """Whether the template has its own way for "tool"; plain ChatML only writes any role into the header."""
    result = (_RESULTS[0], _CALLERS[0])
    known, made_up = (template.try_render([*before, *_result_messages(role, [result])]) for role in ("tool", _NO_ROLE))
    return known is not None and known != (made_up or "").replace(_NO_ROLE, "tool")


def _result_messages(role: str, results: Sequence[NamedResult]) -> list[MessageDict]:
    if role == "user":
        return [message("user", "\n".join(f"<tool_response>\n{text}\n</tool_response>" for text, _ in results))]
    return [
        {**message(role, text), "name": caller, "tool_call_id": call_id(number)}
        for number, (text, caller) in enumerate(results, 1)
    ]
