"""Cuts tool results so that the observation fits into the tokens that a trajectory has left.

Characters of the results are cut, never tokens, so the text around them stays as the protocol writes it. The number of
tokens of a text is not the sum of those of its parts, so every length is tried as a whole observation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from aepo.tools.cut import cut
from aepo.types import ToolResult

REST_SHARE = 8
"""A cut result leaves an eighth of all tokens to the policy, or half of those that are left, if these are fewer."""
_CHARACTERS = 4
"""About the number of characters of a token. The search begins with so many for each token and doubles."""
_PRECISION = 64
"""The search ends when it knows the longest length that fits to one part in this many."""

Write = Callable[[Sequence[ToolResult]], list[int]]
"""The tokens of an observation that shows these results."""


def room_for_results(room: int, max_tokens: int) -> int:
    """The number of tokens that an observation may take, so that a useful rest is left for the next turn.

    Args:
        room: The number of tokens that the trajectory has left.
        max_tokens: The largest number of tokens of a whole trajectory.
    """
    return room - max(1, min(max_tokens // REST_SHARE, room // 2))


def fitted(
    write: Write, results: Sequence[ToolResult], room: int, max_tokens: int
) -> tuple[tuple[ToolResult, ...], list[int]] | None:
    """The results as the model reads them, and the observation's tokens; None if not even the shortest one fits.

    All results of a turn are cut at the same number of characters, so the longest ones lose most. A result is never
    replaced by a note that is longer than itself.

    Args:
        write: Writes the observation.
        results: The results, one for each call.
        room: The number of tokens that the trajectory has left; one of them must stay for the policy.
        max_tokens: The largest number of tokens of a whole trajectory.
    """
    most, longest = room_for_results(room, max_tokens), max(len(result.text) for result in results)
    # The search begins with few characters, so that a text that is far too long is never encoded whole.
    low, high = 0, min(longest, _CHARACTERS * max(1, most))
    best: tuple[tuple[ToolResult, ...], list[int]] | None = None
    while len((found := _written(write, results, high))[1]) <= most:
        if high == longest:
            return found
        best, low, high = found, high, min(2 * high, longest)
    while high - low > 1 + low // _PRECISION:
        middle = (low + high) // 2
        found = _written(write, results, middle)
        if len(found[1]) <= most:
            best, low = found, middle
        else:
            high = middle
    if best is None:
        best = _written(write, results, 0)
    return best if len(best[1]) < room else None


def _written(write: Write, results: Sequence[ToolResult], limit: int) -> tuple[tuple[ToolResult, ...], list[int]]:
    shown = tuple(_shortened(result, limit) for result in results)
    return shown, write(shown)


def _shortened(result: ToolResult, limit: int) -> ToolResult:
    text = cut(result.text, limit)
    return replace(result, text=text, cut=True) if len(text) < len(result.text) else result
