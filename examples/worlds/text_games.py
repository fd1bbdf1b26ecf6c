"""TextWorldExpress: small text games, drawn by seed: cooking, maps, coins, sorting, arithmetic.

Needs `pip install textworld-express` (Apache-2.0) and a Java runtime, version 8 or later. Each world is a Java process,
which takes a second to start and some 100 MB; so `max_open` is small. `python examples/worlds/text_games.py`
plays one at random.
"""

from __future__ import annotations

import random
from typing import Any

import aepo

GAME, SETTINGS = "coin", "numLocations=6,numDistractorItems=0,includeDoors=0,limitInventorySize=0"


class Game:
    """One game; its score is the reward."""

    def __init__(self) -> None:
        from textworld_express import TextWorldExpressEnv

        self.env: Any = TextWorldExpressEnv(envStepLimit=50)
        self.env.load(gameName=GAME, gameParams=SETTINGS)
        self.done, self.score = False, 0.0

    def reset(self, seed: int) -> str:
        """Begin the game of a seed."""
        seen, more = self.env.reset(seed=seed % 2**31, gameFold="train", generateGoldPath=False)
        return self._text(seen, more)

    def act(self, command: str) -> str:
        """Do something in the game.

        Args:
            command: One of the commands that were listed last.
        """
        seen, _, self.done, more = self.env.step(command.strip())
        self.score = max(0.0, float(more["score"]))
        return self._text(seen, more)

    def get_reward(self) -> float:
        """The score, from 0 to 1."""
        return self.score

    def close(self) -> None:
        """End its Java process."""
        self.env.close()

    @staticmethod
    def _text(seen: str, more: dict[str, Any]) -> str:
        return f"{more['taskDescription']}\n{seen}\nCommands: {'; '.join(sorted(more['validActions']))}"


def task(questions: int = 200) -> aepo.Task:
    """As many games as are asked for."""
    samples = [aepo.Sample("Play.", id=f"{GAME}-{number}") for number in range(questions)]
    # Its close leaves descriptors open; the end of a process closes them.
    environment = aepo.environment(Game, process=True, max_open=8, sandboxed=True)
    return aepo.Task("textworld_express", samples, environment=environment)


def play(seed: int, steps: int = 20) -> float:
    """Play at random; the score."""
    draw, game = random.Random(seed), Game()
    said = game.reset(seed=seed)
    for _ in range(steps):
        command = draw.choice(said.rpartition("Commands: ")[2].split("; "))
        if not game.done:
            said = game.act(command)
            print(f"> {command}\n{said}")
    game.close()
    return game.get_reward()


if __name__ == "__main__":
    print("score", play(seed=1))
