"""A world whose count belongs to its process: two in one process would share it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from typing import Any

from aepo.types import ToolError

COUNT = 0


class Odd(Exception):
    """An exception that cannot be pickled."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


class Tally:
    """A count that all of one process share."""

    def __init__(self, marker: str = "", broken: bool = False) -> None:
        if broken:
            raise ValueError("no licence")
        self.done = False
        print("what a world prints is no answer", file=sys.stdout)
        self.helper = subprocess.Popen(["/bin/sh", "-c", "sleep 600; :", marker]) if marker else None

    @property
    def state(self) -> dict[str, int]:
        return {"count": COUNT}

    def reset(self, seed: int) -> str:
        global COUNT
        COUNT = seed
        return f"a tally from {COUNT}"

    def add(self, amount: int) -> str:
        """Add to it.

        Args:
            amount: How much.
        """
        global COUNT
        if COUNT + amount < 0:
            raise ToolError("below zero")
        COUNT += amount
        self.done = COUNT > 100
        return str(COUNT)

    async def later(self, amount: int) -> str:
        """Add after some time.

        Args:
            amount: How much.
        """
        await asyncio.sleep(0.01)
        return self.add(amount)

    def read(self, path: str) -> str:
        return open(path).read()

    def odd(self) -> str:
        raise Odd("no", "copy")

    def leave(self) -> str:
        sys.exit(3)

    def give_function(self) -> Any:
        return lambda: 1

    def say(self, text: str) -> str:
        return text

    def hang(self) -> str:
        time.sleep(600)
        return ""

    def number(self) -> str:
        return str(os.getpid())

    def get_reward(self) -> float:
        return float(COUNT > 100)

    def snapshot(self) -> int:
        return COUNT

    def restore(self, snapshot: int) -> None:
        global COUNT
        COUNT = snapshot

    def close(self) -> None:
        if self.helper is not None:
            self.helper.kill()
            self.helper.wait()
