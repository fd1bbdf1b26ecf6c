"""BabyAI as text: a robot in a room goes to what its mission names, in words that a small model can read.

Needs `pip install gymnasium minigrid` (MIT). Every world is drawn by the seed of its question, so there are as many
questions as you like. `python examples/worlds/babyai.py` plays one at random.
"""

from __future__ import annotations

import random
from typing import Any

import aepo
from aepo.environments.adapters.gymnasium import gymnasium

MOVES = {"left": 0, "right": 1, "forward": 2, "pick": 3}
THINGS = ("ball", "box", "key", "door")


def make() -> Any:
    """One environment of Gymnasium."""
    import gymnasium
    import minigrid  # noqa: F401  (registers BabyAI)

    return gymnasium.make("BabyAI-GoToLocal-v0")


def show(seen: dict[str, Any], more: dict[str, Any]) -> str:
    """The mission and the things in view: the robot stands at the lower edge of a square, in the middle."""
    from minigrid.core.constants import IDX_TO_COLOR, IDX_TO_OBJECT

    found = []
    for column, cells in enumerate(seen["image"]):
        for row, (kind, color, _) in enumerate(cells):
            if (name := IDX_TO_OBJECT[kind]) in THINGS:
                side = f"{abs(column - 3)} {'left' if column < 3 else 'right'}"
                found.append(f"{IDX_TO_COLOR[color]} {name} {6 - row} ahead, {side}")
    return f"{seen['mission']}. You see: {'; '.join(found) or 'nothing'}. Actions: {', '.join(MOVES)}"


world = gymnasium(make, show, MOVES.__getitem__)


def task(questions: int = 200) -> aepo.Task:
    """As many questions as are asked for."""
    samples = [aepo.Sample("Do what the mission says.", id=f"babyai-{number}") for number in range(questions)]
    return aepo.Task("babyai", samples, environment=aepo.environment(world, inline=True, sandboxed=True))


def play(seed: int, steps: int = 40) -> float:
    """Play at random; the reward."""
    draw, robot = random.Random(seed), world()
    print(robot.reset(seed=seed))
    for _ in range(steps):
        if not robot.done:
            move = draw.choice(list(MOVES))
            print(f"> {move}\n{robot.act(move)}")
    robot.close()
    return robot.get_reward()


if __name__ == "__main__":
    print("reward", play(seed=1))
