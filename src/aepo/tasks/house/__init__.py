"""`house`: a text game in which a chest must be opened with the right one of two keys.

The player sees the room that it is in and the doors, nothing else. So what it finds behind a door changes its plan:
where uncertainty rises, branches start. Each mistake can be repaired, but costs calls.
"""

from __future__ import annotations

from aepo.environments import environment
from aepo.rewards import outcome
from aepo.tasks.base import Task
from aepo.tasks.house.game import House
from aepo.tasks.house.questions import questions
from aepo.tasks.splits import Split
from aepo.types import Sample, Trajectory


def house(
    size: int = 6000,
    held_out: int = 300,
    split: Split = "validation",
    seed: int = 0,
    rooms: int = 6,
    system: str | None = "",
) -> Task:
    """The task, with `size` training houses and `held_out` other ones.

    The reward is `opened`.

    Args:
        size: Houses to train on.
        held_out: Houses to evaluate with.
        split: Where the held-out houses come from: "validation" to choose settings, "test" to report.
        seed: Seed of the choice of houses.
        rooms: Number of rooms of each, 4 to 12. In a small house a player needs less luck.
        system: System message; None is the protocol's own. The model in this package was made for this task and needs
            no message; other models do.

    Raises:
        ValueError: There are too few different houses, or they have too few or too many rooms.
    """
    return Task(
        name="house",
        samples=questions("train", size, seed, rooms),
        held_out=questions(split, held_out, seed, rooms),
        reward=opened,
        environment=environment(House, max_open=1024, inline=True, sandboxed=True),
        system=system,
    )


def opened(sample: Sample, trajectory: Trajectory) -> float:
    """1 if the chest is open at the end, 0 if not, -1 after a format error.

    Without the last, a broken turn would be as good as a game that ran out of calls, and shorter.
    """
    return -1.0 if trajectory.format_error is not None else outcome(sample, trajectory)
