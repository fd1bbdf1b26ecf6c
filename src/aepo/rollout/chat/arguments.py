"""Finds the arguments that a chat template reads, such as `enable_thinking`, and checks those that are given."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

_JINJA = ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"])
# A tag of transformers that jinja does not know. It marks the assistant's text and changes no text.
_GENERATION = re.compile(r"\{%[-+]?\s*(end)?generation\s*[-+]?%\}")
_GIVEN = frozenset({"messages", "tools", "add_generation_prompt", "continue_final_message"})
"""The arguments that the rollout sets itself."""
_FUNCTIONS = frozenset({"raise_exception", "strftime_now"})
"""The arguments that transformers sets itself."""


def arguments_of(source: str) -> list[str]:
    """The names that a template reads from outside, without those that every rendering sets.

    A name that the template also sets is an argument only if it asks for it (`x is defined`, `x | default(...)`).

    Raises:
        ValueError: The text is no template.
    """
    try:
        tree = _JINJA.parse(_GENERATION.sub("", source))
    except jinja2.TemplateError as error:
        raise ValueError(f"the chat template is no valid template: {' '.join(str(error).split())}") from None
    names = list(tree.find_all(nodes.Name))
    own = {name.name for name in names if name.ctx == "store"} - _asked(tree)
    own |= {name.name for name in names if name.ctx == "param"}
    found = meta.find_undeclared_variables(tree) - own - _GIVEN - _FUNCTIONS - _JINJA.globals.keys()
    return sorted(name for name in found if not name.endswith("_token"))


def check_arguments(source: str, given: Mapping[str, Any]) -> None:
    """Check that a template reads all the arguments that are given to it.

    Raises:
        ValueError: The template does not read one, and the message names those that it reads; or the text is no
            template.
    """
    read = arguments_of(source) if given else []
    for name in given:
        if name not in read:
            near = difflib.get_close_matches(name, read, 1, 0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            known = f"it reads {', '.join(read)}" if read else "it reads none"
            raise ValueError(f"rollout.template: the chat template does not read {name!r}: {hint}{known}")


def _asked(tree: nodes.Template) -> set[str]:
    """The names that a template asks for: `x is defined`, `x | default(...)`."""
    tests = [test.node for test in tree.find_all(nodes.Test) if test.name in ("defined", "undefined")]
    filters = [one.node for one in tree.find_all(nodes.Filter) if one.name in ("default", "d")]
    return {node.name for node in (*tests, *filters) if isinstance(node, nodes.Name)}
