"""The interface of a chat protocol, and the parts of a tokenizer and of a tool that it needs.

Turns are decoded only to parse them. Their token ids stay as they were sampled.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aepo.rollout.generator import Stop
from aepo.types import ToolCall, ToolResult

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that chat protocols use."""

    @property
    def eos_token_id(self) -> int | None:
        """None if the tokenizer has no end token."""

    @property
    def all_special_ids(self) -> Sequence[int]:
        """Ids of the special tokens."""

    @property
    def chat_template(self) -> Any:
        """The jinja source, or a dict of several; None without one."""

    def get_added_vocab(self) -> Mapping[str, int]:
        """The tokens that were added to the trained vocabulary, special or not."""

    def convert_tokens_to_ids(self, tokens: str) -> int | None:
        """The id of one token; None or the unknown token's id if there is no such token."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> Sequence[int]:
        """Text to ids."""

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool = False) -> str:
        """Ids to text."""

    def apply_chat_template(
        self,
        conversation: list[dict[str, Any]],
        *,
        tools: list[dict[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        tokenize: bool = True,
        **variables: Any,
    ) -> Any:
        """Messages to text when `tokenize` is False."""


class ToolLike(Protocol):
    """The part of a tool that the model is told."""

    @property
    def name(self) -> str:
        """Letters, digits, `_` and `-`."""

    @property
    def description(self) -> str:
        """The purpose of the tool."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The JSON schema of the arguments, which are an object."""


@dataclass(frozen=True)
class ParsedTurn:
    """The content of one turn of the policy.

    At most one of the three is set. If none is, the policy ended its text without an answer.

    Attributes:
        calls: The tool calls that end the turn; one with `error` set is not run, and the model is told the error.
        answer: The answer's text, never empty.
        error: One short line that says how the turn broke the protocol.
    """

    calls: tuple[ToolCall, ...] = ()
    answer: str | None = None
    error: str | None = None


class ChatProtocol(Protocol):
    r"""Writes questions, calls and results as tokens, and reads calls and answers.

    Examples:
        Tokens are bytes and a turn is a line. A line that begins with "?" calls the tool `search`; any other line is
        the answer:

        >>> class Lines(ChatProtocol):
        ...     name = "lines"
        ...     stop = Stop(tokens=frozenset(b"\n"))
        ...     reserved = ("?",)
        ...
        ...     def prompt(self, question, instruction=""):
        ...         return list(f"{instruction}{question}\n".encode())
        ...
        ...     def parse(self, tokens):
        ...         text = bytes(tokens).decode(errors="replace").strip()
        ...         if text.startswith("?"):
        ...             return ParsedTurn(calls=(ToolCall("search", {"query": text[1:].strip()}),))
        ...         return ParsedTurn(answer=text or None)
        ...
        ...     def call_start(self, tokens):
        ...         return bytes(tokens).index(b"?")
        ...
        ...     def observation(self, results, calls, turn=()):
        ...         return list("".join(f"= {result.text}\n" for result in results).encode())
        ...
        ...     def format_error(self, error, turn):
        ...         return list(f"! {error}\n".encode())
        >>> protocol = Lines()
        >>> turn = protocol.parse(b"? author of Emma\n")
        >>> turn.calls
        (ToolCall(name='search', arguments={'query': 'author of Emma'}, error=None),)
        >>> bytes(protocol.observation([ToolResult("Jane Austen")], turn.calls))
        b'= Jane Austen\n'
        >>> protocol.parse(b"Jane Austen\n").answer
        'Jane Austen'
    """

    @property
    def name(self) -> str:
        """Its name in a configuration."""

    @property
    def stop(self) -> Stop:
        """The condition that ends a turn."""

    @property
    def reserved(self) -> Collection[str]:
        """Tags and control tokens, which only the protocol and the policy may write."""

    def prompt(self, question: str, instruction: str = "") -> list[int]:
        """The tokens that a trajectory starts from.

        Args:
            question: The question.
            instruction: The text that stands above the system text; empty for none.
        """

    def parse(self, tokens: Sequence[int]) -> ParsedTurn:
        """Parse one turn, the token that stopped it included; it must not raise for any tokens."""

    def call_start(self, tokens: Sequence[int]) -> int:
        """Number of tokens of a turn that lie wholly before its first call.

        Args:
            tokens: A turn for which `parse` gives a call.
        """

    def call_opened(self, tokens: Sequence[int]) -> int:
        """Number of tokens of a turn after which a call follows in any case: up to the end of its opening.

        The opening is the tag before the call, or what stands before the tool's name. Only rules that sample calls
        again from inside need it (`Restart.inside_call`).

        Args:
            tokens: A turn for which `parse` gives a call.
        """

    def turn(self, call: ToolCall, thought: str = "") -> list[int]:
        """The tokens of a turn that `parse` reads as this call, up to its end; `aepo prompt` shows it.

        Raises:
            ValueError: The protocol cannot write it.
        """

    def observation(
        self, results: Sequence[ToolResult], calls: Sequence[ToolCall], turn: Sequence[int] = ()
    ) -> list[int]:
        """The tokens between a turn that ended with calls and the next turn.

        Args:
            results: The calls' results, in the order of the calls; at least one.
            calls: The calls that `parse` found in the turn.
            turn: The turn's tokens; empty if a stop token ended it.
        """

    def format_error(self, error: str, turn: Sequence[int]) -> list[int]:
        """The tokens between a turn that broke the protocol and the next turn, which tell the model what was wrong.

        Args:
            error: The error that `parse` gives for the turn.
            turn: The turn's tokens.
        """


def system_text(system: str | None, description: str, describe: bool) -> str:
    """The system text: the task's own, with the protocol's description of tools and format under it.

    Args:
        system: The task's text; None for none of its own, "" for no system text at all.
        description: What the protocol says of tools and format.
        describe: Whether the description belongs to it.
    """
    if not describe or system == "":
        return system or ""
    return f"{system or ''}\n\n{description}".strip()


def check_tools(tools: Sequence[ToolLike]) -> dict[str, ToolLike]:
    """The tools by name.

    Raises:
        ValueError: Two tools have one name, or a name cannot be written as a tag.
    """
    named: dict[str, ToolLike] = {}
    for tool in tools:
        if not _NAME.fullmatch(tool.name):
            raise ValueError(f"tool name {tool.name!r}: use letters, digits, '_' and '-', beginning with a letter")
        if tool.name in named:
            raise ValueError(f"two tools are named {tool.name!r}: rename one")
        named[tool.name] = tool
    return named
