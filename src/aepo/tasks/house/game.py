"""The game: rooms with doors, two keys, and a chest that one of the keys opens.

    House 417322: open the chest.
    You are in the hall. Doors: bathroom, bedroom.
    > go bathroom         The bathroom. Doors: terrace, attic, hall. Here: iron key.
    > take iron key       You have the iron key.
    > go hall             The hall. Doors: bathroom, bedroom.
    > go bedroom          The bedroom. Doors: hall, attic. Here: chest with a silver lock.
    > open chest          The iron key does not fit.

The player must find the silver key and come back. It carries one key, so it puts the iron key down where it takes the
other one. Nothing that it does is final, but calls are limited.
"""

from __future__ import annotations

import random
from copy import deepcopy
from typing import Any

from aepo.types import ToolError

ROOMS = (
    "attic", "bathroom", "bedroom", "cellar", "garden", "hall", "kitchen", "library", "office", "pantry", "studio",
    "terrace",
)  # fmt: skip
METALS = ("brass", "copper", "iron", "silver")


class House:
    """A house with a chest to open, as an environment: `reset` begins a game; `go`, `take` and `open` are tools.

    Attributes:
        at: The room that the player is in.
        doors: The rooms behind the doors of each room.
        keys: The room of each key that lies somewhere, by its metal.
        chest: The room of the chest.
        lock: The metal of the lock, and of the key that opens it.
        carried: The metal of the key that the player has.
        done: Whether the chest is open, which ends the game.
    """

    def reset(self, seed: int, rooms: int = 6) -> str:
        """Begin the game of a seed; returns what the player sees first.

        Args:
            seed: Decides the house; the same seed makes the same one.
            rooms: Number of rooms, 4 to 12.
        """
        rng = random.Random(seed)
        names = rng.sample(ROOMS, rooms)
        self.doors: dict[str, list[str]] = {name: [] for name in names}
        for number, name in enumerate(names[1:], 1):
            self._connect(name, rng.choice(names[max(0, number - 3) : number]))
        self._connect(*rng.sample(names, 2))
        for beyond in self.doors.values():
            rng.shuffle(beyond)
        self.at, self.chest, *others = rng.sample(names, 4)
        metals = rng.sample(METALS, 2)
        self.keys = dict(zip(metals, others, strict=True))
        self.lock = metals[0]
        self.carried: str | None = None
        self.done = False
        return f"You are in the {self._look()}"

    def go(self, room: str) -> str:
        """Walk through a door.

        Args:
            room: The room behind the door.
        """
        if room not in self.doors[self.at]:
            raise ToolError(f"No door here leads to the {room}.")
        self.at = room
        return f"The {self._look()}"

    def take(self, thing: str) -> str:
        """Take a key; a key that you have is put down.

        Args:
            thing: The key, such as "iron key".
        """
        metal = thing.removesuffix(" key")
        if not thing.endswith(" key") or self.keys.get(metal) != self.at:
            raise ToolError(f"There is no {thing} here to take.")
        del self.keys[metal]
        if self.carried is not None:
            self.keys[self.carried] = self.at
        self.carried = metal
        return f"You have the {metal} key."

    def open(self, thing: str) -> str:
        """Open a thing with the key that you have.

        Args:
            thing: What to open.
        """
        if thing != "chest" or self.at != self.chest:
            raise ToolError(f"There is no {thing} here to open.")
        if self.carried is None:
            return "It is locked."
        if self.carried != self.lock:
            return f"The {self.carried} key does not fit."
        self.done = True
        return "The chest is open."

    def get_reward(self) -> float:
        """1 if the chest is open, else 0."""
        return float(self.done)

    @property
    def state(self) -> dict[str, Any]:
        """Where everything is, as JSON."""
        return deepcopy(vars(self))

    def snapshot(self) -> dict[str, Any]:
        """The whole state of the game."""
        return deepcopy(vars(self))

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go on from a snapshot, which stays as it is."""
        vars(self).update(deepcopy(snapshot))

    def _connect(self, room: str, other: str) -> None:
        if other not in self.doors[room]:
            self.doors[room].append(other)
            self.doors[other].append(room)

    def _look(self) -> str:
        seen = [f"{metal} key" for metal, room in sorted(self.keys.items()) if room == self.at]
        if self.at == self.chest:
            seen.append(f"chest with a {self.lock} lock")
        here = f" Here: {', '.join(seen)}." if seen else ""
        return f"{self.at}. Doors: {', '.join(self.doors[self.at])}.{here}"
