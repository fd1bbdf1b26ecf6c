"""Writes demonstrations of mixed quality, by a scripted player that can open every chest but often makes mistakes.

The player reads what the game shows, and remembers it. It makes mistakes in decisions that reinforcement learning can
improve: whether to take a key that it sees, which of two, whether to try the chest without its key, whether to go where
it has not been, and whether to go back for what it has seen.
"""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from aepo.tasks.house.game import METALS, ROOMS, House
from aepo.types import ToolError
from aepo.warmstart.episode import Segment

LOOK = re.compile(r"(?:You are in the|The) (?P<room>\w+)\. Doors: (?P<doors>[^.]+)\.(?: Here: (?P<things>.+)\.)?")
LOCK = re.compile(r"chest with a (?P<metal>\w+) lock")


@dataclass(frozen=True)
class PlayerFaults:
    """The probability of each mistake, for one decision.

    Attributes:
        wander: Go through any door, instead of to the next place of the plan.
        forget: Leave a key that would help.
        swap: Take a key that the chest is known not to need, or a second one in place of the first.
        hasty: Try to open the chest without its key.
        lost: Look for new rooms although it is known where to go.
        blind: Do what cannot be done here. The game refuses it; who never read a refusal does not know how to go on.
    """

    wander: float = 0.3
    forget: float = 0.15
    swap: float = 0.3
    hasty: float = 0.4
    lost: float = 0.3
    blind: float = 0.06


class HousePlayer:
    """Plays one game for each house.

    Args:
        faults: The probabilities of mistakes.
        rng: Random generator.
        calls: Most calls of a game.
    """

    def __init__(self, faults: PlayerFaults, rng: random.Random, calls: int) -> None:
        self.faults, self.rng, self.calls = faults, rng, calls

    def episode(self, seed: int) -> tuple[str, list[Segment]]:
        """Play the house of `seed`; returns its opening, and the turns and results, which end with a turn."""
        house = House()
        opening = house.reset(seed)
        self._begin(opening)
        segments: list[Segment] = []
        for _ in range(self.calls):
            tool, argument = self._choose()
            try:
                result = getattr(house, tool)(argument)
                self._learn(tool, argument, result)
            except ToolError as error:
                result = str(error)
            segments.append(Segment("policy", f"<{tool}> {argument}</{tool}>"))
            segments.append(Segment("observation", f"<result>{result}</result>"))
            if house.done:
                break
        return opening, segments[:-1]

    def _begin(self, opening: str) -> None:
        self.doors: dict[str, list[str]] = {}
        self.keys: dict[str, str] = {}
        self.chest = self.lock = self.carried = ""
        self._see(opening)

    def _see(self, text: str) -> None:
        look = LOOK.fullmatch(text)
        assert look is not None, text
        self.at = look["room"]
        self.doors[self.at] = look["doors"].split(", ")
        self.tried = False
        for thing in (look["things"] or "").split(", "):
            if lock := LOCK.fullmatch(thing):
                self.chest, self.lock = self.at, lock["metal"]
            elif thing:
                self.keys[thing.removesuffix(" key")] = self.at

    def _learn(self, tool: str, argument: str, result: str) -> None:
        if tool == "go":
            self._see(result)
        elif tool == "open":
            self.tried = True
        else:
            metal = argument.removesuffix(" key")
            del self.keys[metal]
            if self.carried:
                self.keys[self.carried] = self.at
            self.carried = metal

    def _choose(self) -> tuple[str, str]:
        """The next call: its tool and its argument."""
        if self._chance(self.faults.blind):
            return self.rng.choice(self._impossible())
        for metal in [metal for metal, room in self.keys.items() if room == self.at]:
            helps = metal == self.lock if self.lock else not self.carried
            if self._chance(1 - self.faults.forget if helps else self.faults.swap):
                return "take", f"{metal} key"
        if self.at == self.chest and not self.tried and (self.carried == self.lock or self._chance(self.faults.hasty)):
            return "open", "chest"
        if self._chance(self.faults.wander):
            return "go", self.rng.choice(self.doors[self.at])
        new = {room for beyond in self.doors.values() for room in beyond} - self.doors.keys()
        return "go", self._towards(new if self._chance(self.faults.lost) else self._known() or new)

    def _impossible(self) -> list[tuple[str, str]]:
        """Calls that the game refuses in this room."""
        walks = [("go", room) for room in ROOMS if room not in self.doors[self.at]]
        absent = [("take", f"{metal} key") for metal in METALS if self.keys.get(metal) != self.at]
        closed = [("open", f"{metal} chest") for metal in METALS]
        return walks + absent + (closed if self.at == self.chest else [("open", "chest"), *closed])

    def _known(self) -> set[str]:
        """The room to go to, if what has been seen tells it."""
        if self.lock and self.carried == self.lock:
            return {self.chest}
        return {self.keys[self.lock]} if self.lock in self.keys else set()

    def _towards(self, rooms: Collection[str]) -> str:
        """The door on a shortest known way to one of `rooms`; any door if there is none."""
        first = {door: door for door in self.rng.sample(self.doors[self.at], len(self.doors[self.at]))}
        todo = deque(first)
        while todo:
            room = todo.popleft()
            if room in rooms:
                return first[room]
            for beyond in self.doors.get(room, ()):
                if beyond not in first and beyond != self.at:
                    first[beyond] = first[room]
                    todo.append(beyond)
        return self.rng.choice(self.doors[self.at])

    def _chance(self, share: float) -> bool:
        return self.rng.random() < share
