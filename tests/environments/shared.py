"""A world whose count belongs to its process: two in one process would share it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from aepo.types import ToolError
from tests.environments.worlds import Maze

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


class Deadly(Maze):
    """The first world that makes four calls kills its process."""

    def __init__(self, marker: str) -> None:
        super().__init__()
        self.marker = Path(marker)

    def ask(self, what: str) -> str:
        """Go through a door.

        Args:
            what: Which.
        """
        if len(self.seen) == 4:
            with suppress(FileExistsError):
                self.marker.touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
        return super().ask(what)


class Global:
    """All of one process draw and count together."""

    count = 0

    def reset(self, seed: int) -> None:
        Global.count = 0

    def draw(self, what: int) -> str:
        """Draw.

        Args:
            what: Any number.
        """
        Global.count += 1
        return f"{random.random()} {Global.count} {list({str(what), 'a', 'b', 'c'})}"
