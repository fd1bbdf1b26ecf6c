"""Refuses chat templates that do not render a conversation as a rollout builds it.

A rollout only appends. Some templates change earlier turns when a later message comes: they drop the thinking of past
turns, or move the list of tools. In later use the model would then read other tokens than in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aepo.rollout.chat.formats.find import common
from aepo.rollout.chat.glue import Glue, NamedResult
from aepo.rollout.chat.template import MessageDict, Template, calling, message, thinking

_WAY_OUT = "use protocol: tags, or a chat template that only appends"


@dataclass(frozen=True)
class TurnStart:
    """The beginning of the assistant's turns in a template.

    Attributes:
        first: The part of the first turn that the prompt writes, such as "<think>" and a newline; mostly empty.
        later: The part that is written so of turns after a result.
        closed: Whether the prompt closes the thinking, so that turns have none.
    """

    first: str = ""
    later: str = ""
    closed: bool = False

    def of(self, number: int) -> str:
        """The part of turn `number`, from 1, that stands before the policy's tokens."""
        return self.first if number == 1 else self.later


def check_append_only(
    template: Template,
    opening: Sequence[MessageDict],
    glue: Glue,
    caller: str,
    start: TurnStart,
    results: Sequence[int] = (1, 1, 1),
) -> None:
    """Grow conversations turn by turn and compare each rendering with the tokens of a rollout.

    Turns with thinking are compared without whitespace, because some templates change only that. Their thinking is part
    of the message's text. For templates that do not accept this, it has its own field.

    Args:
        template: The template to check.
        opening: The messages before the assistant's first turn.
        glue: The text that the rollout inserts after turns.
        caller: A tool's name.
        start: The beginning of turns.
        results: Number of results after each of three turns.

    Raises:
        ValueError: The template changes earlier text; the message names the first place.
    """
    call = f'<tool_call>\n{{"name": "{caller}", "arguments": {{}}}}\n</tool_call>'
    plain = ["one moment", call, "once more"]
    open_tag = ("<think>\n", "")
    thoughts = [
        f"{open_tag[bool(start.of(number + 1))]}thought {number}\n</think>\n\n{text}"
        for number, text in enumerate(("so", call, "then"))
    ]
    shown = [[(f"result {turn}.{n}", caller) for n in range(count)] for turn, count in enumerate(results, 1)]

    def compare(turns: Sequence[str], exact: bool, apart: bool = False) -> None:
        _compare(template, opening, glue, list(zip(turns, shown, strict=True)), start, exact, apart)

    def compare_thinking(turns: Sequence[str]) -> None:
        try:
            compare(turns, exact=False)
        except ValueError:
            if "reasoning_content" not in template.source:
                raise
            compare(turns, exact=False, apart=True)

    if not start.first:
        compare(plain, exact=True)
    if start.closed:
        return
    if not start.first:
        compare_thinking([thoughts[0], plain[1], thoughts[2]])
    compare_thinking(thoughts)


def check_calls_append_only(
    template: Template,
    opening: Sequence[MessageDict],
    glue: Glue,
    caller: str,
    results: Sequence[int] = (1, 1, 1),
) -> None:
    """The same for templates that write results only after calls that they wrote themselves.

    Raises:
        ValueError: The template changes earlier text; the message names the first place.
    """
    messages, expected = list(opening), [("the prompt", template.render(opening))]
    for number, count in enumerate(results, 1):
        calls = [(caller, {"value": f"aepo sentinel {number}.{n}"}) for n in range(count)]
        turn = calling(*calls, thought=f"thought {number}")
        said = template.render([*messages, turn], generation_prompt=False)
        known = sum(len(text) for _, text in expected)
        _refuse_change(expected, said[:known], True, number)
        shown = [(f"result {number}.{n}", caller) for n in range(count)]
        expected += [(f"turn {number}", said[known:]), (f"the result of turn {number}", glue.text(shown))]
        messages += [turn, *glue.messages(shown)]
        rendered = template.try_render(messages)
        if rendered is None:
            raise ValueError(f"the chat template refuses a conversation with {number} tool results: {_WAY_OUT}")
        _refuse_change(expected, rendered, True, number)


def writes_several(
    template: Template,
    opening: Sequence[MessageDict],
    glue: Glue,
    caller: str,
    start: TurnStart,
    after_call: bool,
) -> bool:
    """Whether the template writes several results of one turn as a rollout does; arguments as above."""
    if glue.between is None:
        return False
    try:
        if after_call:
            check_calls_append_only(template, opening, glue, caller, results=(2, 1, 3))
        else:
            check_append_only(template, opening, glue, caller, start, results=(2, 1, 3))
    except ValueError:
        return False
    return True


def _compare(
    template: Template,
    opening: Sequence[MessageDict],
    glue: Glue,
    turns: Sequence[tuple[str, Sequence[NamedResult]]],
    start: TurnStart,
    exact: bool,
    apart: bool,
) -> None:
    messages = list(opening)
    expected = [("the prompt", template.render(opening).removesuffix(start.first)), ("turn 1", start.first)]
    for number, (turn, results) in enumerate(turns, 1):
        expected.append((f"turn {number}", turn + template.decode([glue.end])))
        expected.append((f"the result of turn {number}", glue.text(results)))
        messages += [_said(start.of(number) + turn, apart), *glue.messages(results)]
        rendered = template.try_render(messages)
        if rendered is None:
            raise ValueError(f"the chat template refuses a conversation with {number} tool results: {_WAY_OUT}")
        _refuse_change(expected, rendered, exact, number)


def _said(turn: str, apart: bool) -> MessageDict:
    """The message of a turn; `apart` gives its thinking in a field of its own."""
    thought, closed, text = turn.rpartition("</think>")
    if not (apart and closed):
        return message("assistant", turn)
    return {**message("assistant", text.strip()), **thinking(thought.replace("<think>", "").strip())}


def _refuse_change(expected: Sequence[tuple[str, str]], rendered: str, exact: bool, number: int) -> None:
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
    at = common(whole, rendered)
    label, end = expected[-1][0], 0
    for (name, _), text in zip(expected, texts, strict=True):
        end += len(text)
        if at < end:
            label = name
            break
    return f"{label} ({whole[at : at + 30]!r} becomes {rendered[at : at + 30]!r})"


def _squeezed(text: str) -> str:
    return "".join(text.split())
