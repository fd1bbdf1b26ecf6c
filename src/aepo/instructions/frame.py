"""The frame that an instruction must leave alone: tags, control tokens, and the descriptions of tools."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from aepo.rollout.agent import Agent

_TAG = re.compile(r"</?[A-Za-z_][\w.-]*(?:\s[^<>]*)?>")
_LEAST_DESCRIPTION = 20
"""A shorter description may be plain words that an instruction needs."""


class BrokenFrame(ValueError):
    """An instruction cannot be used; the message says why."""


@dataclass(frozen=True)
class Frame:
    """What the system text holds besides an instruction.

    Attributes:
        agents: The agents of the run, one for each environment.
        max_tokens: Most tokens of an instruction.
    """

    agents: Sequence[Agent]
    max_tokens: int

    def tokens(self, text: str) -> int:
        """The tokens that an instruction adds to a prompt."""
        prompts = (agent.protocol.prompt for agent in self.agents)
        return max(len(prompt("question", text)) - len(prompt("question")) for prompt in prompts)

    def check(self, text: str, others: Collection[str] = ()) -> int:
        """Check an instruction; returns its tokens.

        Args:
            text: The instruction.
            others: The texts that it must differ from.

        Raises:
            BrokenFrame: It is empty, too long, one of the others, or holds a part of the frame.
        """
        if not text.strip():
            raise BrokenFrame("it is empty")
        if text in others:
            raise BrokenFrame("another instruction has the same text")
        plain = "".join(text.split()).lower()
        reserved = sorted({word for agent in self.agents for word in agent.protocol.reserved if len(word) > 1})
        found = _TAG.search(text)
        held = found.group() if found else next((w for w in reserved if "".join(w.split()).lower() in plain), None)
        if held is not None:
            raise BrokenFrame(f"it holds {held!r}: tags and control tokens belong to the frame")
        for name, tool in ((name, tool) for agent in self.agents for name, tool in agent.tools.items()):
            described = "".join(tool.description.split()).lower()
            if len(described) >= _LEAST_DESCRIPTION and described in plain:
                raise BrokenFrame(f"it describes tool {name}: descriptions of tools belong to the frame")
        if (count := self.tokens(text)) > self.max_tokens:
            raise BrokenFrame(f"it has {count} tokens, and {self.max_tokens} are allowed (instructions.max_tokens)")
        return count
