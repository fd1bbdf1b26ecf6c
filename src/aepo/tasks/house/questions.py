"""Houses as questions, split by their seed: no house of one split is in another."""

from __future__ import annotations

import random

from aepo.tasks.house.game import ROOMS
from aepo.tasks.splits import Split
from aepo.types import Sample

DIGITS: dict[Split, tuple[int, ...]] = {"train": (2, 3, 4, 5, 6, 7, 8, 9), "validation": (1,), "test": (0,)}
"""The last digits of the seeds of a split."""
LARGEST = 10**6
"""All seeds that are drawn are below it."""


def split_of(seed: int) -> Split:
    """The split of a house, by the last digit of its seed."""
    return next(split for split in DIGITS if seed % 10 in DIGITS[split])


def seeds(split: Split, size: int, seed: int = 0) -> list[int]:
    """`size` different seeds of houses of a split.

    Raises:
        ValueError: The split has too few houses.
    """
    known = [number for digit in DIGITS[split] for number in range(digit, LARGEST, 10)]
    if size > len(known):
        raise ValueError(f"house has not {size} different {split} questions: ask for at most {len(known)}")
    return random.Random(f"house {split} {seed}").sample(known, size)


def question(seed: int) -> str:
    """The question about the house of a seed."""
    return f"House {seed}: open the chest."


def questions(split: Split, size: int, seed: int = 0, rooms: int = 6) -> list[Sample]:
    """`size` different questions of a split; a question's metadata has what `House.reset` takes.

    Raises:
        ValueError: The split has too few houses, or `rooms` is not 4 to 12.
    """
    if not 4 <= rooms <= len(ROOMS):
        raise ValueError(f"a house has 4 to {len(ROOMS)} rooms, not {rooms}")
    numbers = seeds(split, size, seed)
    return [Sample(question(n), id=f"house-{split}-{n}", metadata={"seed": n, "rooms": rooms}) for n in numbers]
