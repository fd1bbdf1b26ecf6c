"""The text of each token, for people who read a trajectory token by token."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

# Largest number of tokens that are decoded together to find one character. UTF-8 needs 4; more are for broken text.
_LONGEST_CHARACTER = 8


class TokenTexts:
    """Gives the text that each token adds; joined they are the whole text.

    If several tokens make one character, the last one has it and the others are empty. If the texts of single tokens
    do not make the whole, as with tokenizers that drop a leading space, each is decoded after the one before it.

    Args:
        decode: Turns token ids into text, special tokens included.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._few = functools.lru_cache(maxsize=1 << 16)(lambda *tokens: decode(list(tokens)))
        self._alone: dict[int, str] = {}

    def __call__(self, tokens: Sequence[int]) -> list[str]:
        """The texts of tokens, one per token."""
        for token in set(tokens).difference(self._alone):
            self._alone[token] = self._decode([token])
        pieces = self._pieces(tokens, after=False)
        if not tokens or "".join(pieces) == self._decode(list(tokens)):
            return pieces
        return self._pieces(tokens, after=True)

    def _pieces(self, tokens: Sequence[int], after: bool) -> list[str]:
        pieces: list[str] = []
        before: list[int] = []
        pending: list[int] = []
        for token in tokens:
            pending.append(token)
            text = self._added(before, pending) if before or len(pending) > 1 else self._alone[token]
            if text.endswith("\ufffd") and len(pending) < _LONGEST_CHARACTER:
                pieces.append("")
                continue
            pieces.append(text)
            before, pending = pending if after else [], []
        if pending:
            pieces[-1] = self._few(*pending)
        return pieces

    def _added(self, before: list[int], tokens: list[int]) -> str:
        """The text that tokens add after others."""
        head, whole = self._few(*before) if before else "", self._few(*before, *tokens)
        return whole[len(head) :] if whole.startswith(head) else self._few(*tokens)
