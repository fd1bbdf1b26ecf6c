"""Environments of Gymnasium, with one tool, `act`. The reward is the sum of the rewards of all steps."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from aepo.types import ToolError


class Gymnasium:
    """An environment with `reset(seed=...)`, `step(action)` and `close()`."""

    def __init__(self, make: Callable[[], Any], show: Callable[..., str], parse: Callable[[str], Any]) -> None:
        """See `gymnasium`."""
        self._env, self._show, self._parse = make(), show, parse

    def reset(self, seed: int) -> str:
        """Begin; equal seeds begin alike."""
        self._total, self.done = 0.0, False
        return self._show(*self._env.reset(seed=seed % 2**31))

    def act(self, action: str) -> str:
        """Take an action.

        Args:
            action: What to do.
        """
        try:
            move = self._parse(action.strip())
        except (KeyError, ValueError) as error:
            raise ToolError(f"no such action: {action.strip()[:100]}") from error
        seen, reward, ended, cut, more = self._env.step(move)
        self._total, self.done = self._total + float(reward), bool(ended or cut)
        return self._show(seen, more)

    def get_reward(self) -> float:
        """The sum of all rewards."""
        return self._total

    def close(self) -> None:
        """Free it."""
        self._env.close()


def gymnasium(
    make: Callable[[], Any],
    show: Callable[[Any, dict[str, Any]], str] = lambda seen, more: str(seen),
    parse: Callable[[str], Any] = str,
) -> Callable[[], Gymnasium]:
    """A factory for `aepo.environment`.

    Args:
        make: Makes one, such as `lambda: gymnasium.make("BabyAI-GoToLocal-v0")`.
        show: What the model reads of an observation and the `info` beside it.
        parse: The action that a text of the model means; raises KeyError or ValueError if it means none.
    """
    return partial(Gymnasium, make, show, parse)
