"""What one life of a server leaves behind, from its start to its death."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from aepo.tools.mcp.session import Session

MOST_BYTES = 8 << 20
"""A longer reply of a server is thrown away while it is read."""

TOO_LONG = f"the reply was longer than {MOST_BYTES >> 20} MiB; ask for less"

_WORDS = 4096


@dataclass
class Life:
    """One session with a server. Belongs to one event loop.

    Attributes:
        over: Set once nothing can be asked any more.
        forgotten: It ended because the server knew nothing of it (HTTP 404): what was asked last was not done.
        answered: Whether a call was answered in it.
        session: Set once tools can be called.
        last_words: The end of what it wrote to stderr, or the last status of HTTP that was no success.
    """

    over: anyio.Event = field(default_factory=anyio.Event)
    forgotten: bool = False
    answered: bool = False
    session: Session | None = None
    last_words: bytes = b""

    def say(self, words: bytes) -> None:
        """Keep the end of it."""
        self.last_words = (self.last_words + words)[-_WORDS:]
