"""A catalogue as an environment: what it says depends on all that was asked before, and now and then it closes."""

import zlib
from typing import Any

import aepo

COUNTRIES = ("Chile", "Peru", "Kenya", "Norway", "Japan")


class Catalogue:
    """Remembers what was asked."""

    done = False

    def reset(self, question: str) -> None:
        self.asked = [question]

    def search(self, query: str) -> str:
        """Look something up.

        Args:
            query: What to look for.
        """
        self.asked.append(query)
        self.done = zlib.crc32(" ".join(self.asked).encode()) % 3 == 0
        return f"{len(self.asked) - 1}: {query}"

    def get_reward(self) -> float:
        return zlib.crc32(" ".join(self.asked).encode()) % 4 / 3

    @property
    def state(self) -> dict[str, Any]:
        return {"asked": self.asked[1:]}


def catalogues(max_open: int) -> aepo.Task:
    samples = [aepo.Sample(f"What is the capital of {country}?", id=country) for country in COUNTRIES]
    world = aepo.environment(Catalogue, max_open=max_open)
    return aepo.Task("catalogues", samples[:4], held_out=samples[4:], environment=world, system="")
