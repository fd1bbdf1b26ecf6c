"""The frame that an instruction must leave alone: tags, control tokens, and the descriptions of tools."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from aepo.rollout.chat import ChatProtocol
from aepo.tools.base import Tool

_TAG = re.compile(r"</?[A-Za-z_][\w.-]*(?:\s[^<>]*)?>")
_LEAST_DESCRIPTION = 20
"""A shorter description may be plain words that an instruction needs."""


class BrokenFrame(ValueError):
    """An instruction cannot be used; the message says why."""


@dataclass(frozen=True)
class Frame:
    """What the system text holds besides an instruction.

    Attributes:
        protocols: The chat protocols of the run, one for each environment.
        tools: The tools that these describe.
        max_tokens: Most tokens of an instruction.
    """

    protocols: Collection[ChatProtocol]
    tools: Collection[Tool]
    max_tokens: int

    def tokens(self, text: str) -> int:
        """The tokens that an instruction adds to a prompt."""
        return max(len(one.prompt("question", text)) - len(one.prompt("question")) for one in self.protocols)

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
        plain = _plain(text)
        reserved = sorted({word for protocol in self.protocols for word in protocol.reserved if len(word) > 1})
        tag = _TAG.search(text)
        if held := tag.group() if tag else next((word for word in reserved if _plain(word) in plain), None):
            raise BrokenFrame(f"it holds {held!r}: tags and control tokens belong to the frame")
        for tool in self.tools:
            if len(described := _plain(tool.description)) >= _LEAST_DESCRIPTION and described in plain:
                raise BrokenFrame(f"it describes tool {tool.name}: descriptions of tools belong to the frame")
        if (count := self.tokens(text)) > self.max_tokens:
            raise BrokenFrame(f"it has {count} tokens, and {self.max_tokens} are allowed (instructions.max_tokens)")
        return count


def _plain(text: str) -> str:
    return "".join(text.split()).lower()
