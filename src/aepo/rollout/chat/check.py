"""Refuses chat templates that do not render a conversation as a rollout builds it.

A rollout only appends. Some templates change earlier turns when a later message comes: they drop the thinking of past
turns, or move the list of tools. In later use the model would then read other tokens than in training.
"""

from __future__ import annotations

from collections.abc import Sequence

from aepo.rollout.chat.conventions import Conventions
from aepo.rollout.chat.formats.find import common
from aepo.rollout.chat.glue import NamedResult
from aepo.rollout.chat.template import MessageDict, calling, message, thinking

_WAY_OUT = "use protocol: tags, or a chat template that only appends"


def check_append_only(found: Conventions, results: Sequence[int] = (1, 1, 1)) -> None:
    """Grow conversations turn by turn and compare each rendering with the tokens of a rollout.

    Args:
        found: The template, and what is known of it.
        results: Number of results after each of three turns.

    Raises:
        ValueError: The template changes earlier text; the message names the first place.
    """
    if found.form.after_call:
        _check_calls(found, results)
    else:
        _check_texts(found, results)


def writes_several(found: Conventions) -> bool:
    """Whether the template writes several results of one turn as a rollout does."""
    if found.glue.between is None:
        return False
    try:
        check_append_only(found, (2, 1, 3))
    except ValueError:
        return False
    return True


def _check_texts(found: Conventions, results: Sequence[int]) -> None:
    """Check turns that are given as text, plain ones and some with thinking.

    Turns with thinking are compared without whitespace, because some templates change only that. Their thinking is part
    of the message's text. For templates that do not accept this, it has its own field.
    """
    start, caller = found.start, found.template.caller
    call = f'<tool_call>\n{{"name": "{caller}", "arguments": {{}}}}\n</tool_call>'
    plain = ["one moment", call, "once more"]
    open_tag = ("<think>\n", "")
    thoughts = [
        f"{open_tag[bool(start.of(number + 1))]}thought {number}\n</think>\n\n{text}"
        for number, text in enumerate(("so", call, "then"))
    ]
    shown = [[(f"result {turn}.{n}", caller) for n in range(count)] for turn, count in enumerate(results, 1)]

    def compare_thinking(turns: Sequence[str]) -> None:
        try:
            _compare(found, turns, shown, exact=False)
        except ValueError:
            if "reasoning_content" not in found.template.source:
                raise
            _compare(found, turns, shown, exact=False, apart=True)

    if not start.first:
        _compare(found, plain, shown, exact=True)
    if start.closed:
        return
    if not start.first:
        compare_thinking([thoughts[0], plain[1], thoughts[2]])
    compare_thinking(thoughts)


def _compare(
    found: Conventions, turns: Sequence[str], shown: Sequence[Sequence[NamedResult]], exact: bool, apart: bool = False
) -> None:
    template, glue, start = found.template, found.glue, found.start
    messages = template.opening()
    expected = [("the prompt", template.render(messages).removesuffix(start.first)), ("turn 1", start.first)]
    for number, (turn, results) in enumerate(zip(turns, shown, strict=True), 1):
        expected.append((f"turn {number}", turn + template.decode([glue.end])))
        expected.append((f"the result of turn {number}", glue.text(results)))
        messages += [_said(start.of(number) + turn, apart), *glue.messages(results)]
        _refuse_change(expected, _rendered(found, messages, number), exact, number)


def _check_calls(found: Conventions, results: Sequence[int]) -> None:
    """Check turns that are calls, for templates that write results only after calls that they wrote themselves."""
    template, glue = found.template, found.glue
    messages = template.opening()
    expected = [("the prompt", template.render(messages))]
    for number, count in enumerate(results, 1):
        calls = [(template.caller, {"value": f"aepo sentinel {number}.{n}"}) for n in range(count)]
        turn = calling(*calls, thought=f"thought {number}")
        said = template.render([*messages, turn], generation_prompt=False)
        known = sum(len(text) for _, text in expected)
        _refuse_change(expected, said[:known], True, number)
        shown = [(f"result {number}.{n}", template.caller) for n in range(count)]
        expected += [(f"turn {number}", said[known:]), (f"the result of turn {number}", glue.text(shown))]
        messages += [turn, *glue.messages(shown)]
        _refuse_change(expected, _rendered(found, messages, number), True, number)


def _rendered(found: Conventions, messages: Sequence[MessageDict], number: int) -> str:
    rendered = found.template.try_render(messages)
    if rendered is None:
        raise ValueError(f"the chat template refuses a conversation with {number} tool results: {_WAY_OUT}")
    return rendered


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
