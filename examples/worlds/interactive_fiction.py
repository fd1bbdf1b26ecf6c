"""Jericho: interactive fiction, with snapshots of some 36 kB that take less time than a call.

Needs `pip install jericho`, which is under the GNU General Public License (version 2 or later): therefore it is an
example here and no part of the package. It has no games: give it a file for the Z-machine, such as one that
`tw-make` of TextWorld writes. `python examples/worlds/interactive_fiction.py GAME.z8` plays it at random.
"""

from __future__ import annotations

import random
import sys
from functools import partial
from typing import Any

import aepo


class Story:
    """One story; its score is the reward, as a part of the highest one."""

    def __init__(self, path: str) -> None:
        from jericho import FrotzEnv

        self.env: Any = FrotzEnv(path)
        self.done = False

    def reset(self, seed: int) -> str:
        """Begin the story."""
        self.env.seed(seed % 10_000 + 1)
        self.done = False
        return str(self.env.reset()[0])

    def act(self, command: str) -> str:
        """Say what to do.

        Args:
            command: Such as "go north" or "take key".
        """
        said, _, self.done, _ = self.env.step(command)
        return str(said)

    def get_reward(self) -> float:
        """The score, from 0 to 1."""
        return max(0.0, self.env.get_score() / max(1, self.env.get_max_score()))

    def snapshot(self) -> object:
        """The whole machine."""
        return self.env.get_state(), self.done

    def restore(self, snapshot: Any) -> None:
        """Go on from there."""
        self.env.reset()
        state, self.done = snapshot
        self.env.set_state(state)

    def close(self) -> None:
        """Free the machine."""
        self.env.close()


def task(path: str) -> aepo.Task:
    """A story is one question; a folder of them is a task."""
    samples = [aepo.Sample("Play the story.", id=path)]
    return aepo.Task("jericho", samples, environment=aepo.environment(partial(Story, path), sandboxed=True))


def play(path: str, seed: int, steps: int = 20) -> float:
    """Play at random; the score."""
    draw, story = random.Random(seed), Story(path)
    print(story.reset(seed=seed))
    for _ in range(steps):
        commands = story.env.get_valid_actions()
        if commands and not story.done:
            command = draw.choice(commands)
            print(f"> {command}\n{story.act(command)}")
    reward = story.get_reward()
    story.close()
    return reward


if __name__ == "__main__":
    print("score", play(sys.argv[1], seed=1))
