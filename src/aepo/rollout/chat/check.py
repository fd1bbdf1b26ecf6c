"""Refuses chat templates that render a conversation otherwise than a rollout builds it.

A rollout only appends. Some templates change earlier turns when a later message comes: they drop the thinking of past
turns, or move the list of tools. The model would then be used on other tokens than it was trained on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from aepo.rollout.chat.base import ToolLike
from aepo.rollout.chat.calls import find_calls
from aepo.rollout.chat.glue import Glue, NamedResult
from aepo.rollout.chat.template import MessageDict, Template, calling, message
from aepo.types import ToolCall

_WAY_OUT = "use protocol: tags, or a chat template that only appends"


def check_append_only(
    template: Template,
    opening: Sequence[MessageDict],
    glue: Glue,
    caller: str,
    opened: str = "",
    results: Sequence[int] = (1, 1, 1),
) -> None:
    """Grow conversations turn by turn and compare each rendering with the tokens of a rollout.

    Turns with thinking are compared without whitespace, because some templates change only that.

    Args:
        template: The template to check.
        opening: The messages before the assistant's first turn.
        glue: The text that the rollout inserts after turns.
        caller: A tool's name.
        opened: The part of the assistant's turn that the prompt writes, e.g. "<think>" and a newline.
        results: Number of results after each of three turns.

    Raises:
        ValueError: The template changes earlier text; the message names the first place.
    """
    call = f'<tool_call>\n{{"name": "{caller}", "arguments": {{}}}}\n</tool_call>'
    open_tag = "" if opened else "<think>\n"
    thinking = [f"{open_tag}thought {n}\n</think>\n\n{text}" for n, text in enumerate(("so", call, "then"))]
    plain = ["one moment", call, "once more"]

    def compare(turns: Sequence[str], exact: bool) -> None:
        shown = [[(f"result {turn}.{n}", caller) for n in range(count)] for turn, count in enumerate(results, 1)]
        _compare(template, opening, glue, list(zip(turns, shown, strict=True)), opened, exact)

    if not opened:
        compare(plain, exact=True)
        compare([thinking[0], plain[1], thinking[2]], exact=False)
    compare(thinking, exact=False)


def writes_several(
    template: Template, opening: Sequence[MessageDict], glue: Glue, caller: str, opened: str = ""
) -> bool:
    """Whether the template writes several results of one turn as a rollout does; arguments as `check_append_only`."""
    if glue.between is None:
        return False
    try:
        check_append_only(template, opening, glue, caller, opened, results=(2, 1, 3))
    except ValueError:
        return False
    return True


def check_call_format(template: Template, opening: Sequence[MessageDict], glue: Glue, tool: ToolLike) -> None:
    """Let the template write a tool call and read it back; a template that writes no calls passes.

    Raises:
        ValueError: `find_calls` does not read the template's calls.
    """
    arguments = {"value": "aepo sentinel"}
    prompt = template.render(opening)
    for given in (arguments, json.dumps(arguments)):
        rendered = template.try_render([*opening, calling(tool.name, given)], generation_prompt=False)
        if rendered is None:
            continue
        written = rendered[_common(prompt, rendered) :].rpartition("</think>")[2]
        written = written.rpartition(template.decode([glue.end]))[0] or written
        if arguments["value"] in written and find_calls(written, [tool.name]) != (ToolCall(tool.name, arguments),):
            raise ValueError(
                f"the chat template writes tool calls as {written.strip()[:80]!r}, which is not understood "
                "(JSON in <tool_call> tags, or Llama's bare JSON, is): use protocol: tags"
            )
        return


def _compare(
    template: Template,
    opening: Sequence[MessageDict],
    glue: Glue,
    turns: Sequence[tuple[str, Sequence[NamedResult]]],
    opened: str,
    exact: bool,
) -> None:
    messages = list(opening)
    expected = [("the prompt", template.render(opening).removesuffix(opened)), ("turn 1", opened)]
    for number, (turn, results) in enumerate(turns, 1):
        expected.append((f"turn {number}", turn + template.decode([glue.end])))
        expected.append((f"the result of turn {number}", glue.text(results)))
        messages += [message("assistant", opened + turn), *glue.messages(results)]
        rendered = template.try_render(messages)
        if rendered is None:
            raise ValueError(f"the chat template refuses a conversation with {number} tool results: {_WAY_OUT}")
        changed = _first_change(expected, rendered, exact)
        if changed is not None:
            raise ValueError(f"the chat template changes {changed} once {_after(number)}: {_WAY_OUT}")


def _after(number: int) -> str:
    return "a tool result follows" if number == 1 else f"{number} tool results follow"


def _first_change(expected: Sequence[tuple[str, str]], rendered: str, exact: bool) -> str | None:
    texts = [text if exact else _squeezed(text) for _, text in expected]
    whole, rendered = "".join(texts), rendered if exact else _squeezed(rendered)
    if whole == rendered:
        return None
    at = _common(whole, rendered)
    label, end = expected[-1][0], 0
    for (name, _), text in zip(expected, texts, strict=True):
        end += len(text)
        if at < end:
            label = name
            break
    return f"{label} ({whole[at : at + 30]!r} becomes {rendered[at : at + 30]!r})"


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _common(one: str, other: str) -> int:
    """Length of the common prefix, in characters."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
