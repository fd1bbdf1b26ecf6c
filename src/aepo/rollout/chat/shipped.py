"""The chat templates of this package, for families whose own template changes earlier turns.

Each writes prompts and results as the family's own template does, and never changes an earlier turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib import resources

from aepo.rollout.chat.template import MessageDict, Template, message

_RESULT = {**message("tool", "aepo sentinel result"), "name": "aepo_sentinel_tool", "tool_call_id": "aepo00001"}
_TURN = "aepo sentinel turn"


@lru_cache(maxsize=1)
def shipped() -> dict[str, str]:
    """The templates by name."""
    folder = resources.files("aepo.rollout.chat") / "templates"
    found = {file.name.removesuffix(".jinja"): file.read_text(encoding="utf-8") for file in folder.iterdir()}
    return dict(sorted(found.items()))


def instead_of(own: Template) -> Iterator[tuple[str, Template]]:
    """The templates of this package, with their names, that write the same as a model's own template."""
    for name, source in shipped().items():
        try:
            other = replace(own, other=source)
        except ValueError:  # the template does not read an argument
            continue
        if agree(own, other):
            yield name, other


def agree(one: Template, other: Template) -> bool:
    """Whether two templates write the same prompt, the same first turn, and the same after a turn with a result."""
    for opening in ([message("user", "question")], [message("system", "aepo sentinel"), message("user", "question")]):
        said = [*opening, message("assistant", _TURN)]
        if not all(
            _same(one, other, messages, prompts)
            for messages, prompts in ((opening, True), (said, False), ([*said, _RESULT], True))
        ):
            return False
    return True


def _same(one: Template, other: Template, messages: Sequence[MessageDict], prompts: bool) -> bool:
    texts = [template.try_render(messages, generation_prompt=prompts) for template in (one, other)]
    if texts[0] is None or texts[1] is None:
        return False
    if messages[-1]["role"] == "tool":  # a model's own template may change the turn before a result
        texts = [text.rpartition(_TURN)[2] for text in texts if text is not None]
    return texts[0] == texts[1]
