"""Guess a number: what a call says decides the next one. `aepo train task.name=guess:task model.path=MODEL`."""

import random

import aepo


class Guess:
    """A hidden number, and seven guesses."""

    def reset(self, seed: int) -> str:
        """Hide a number."""
        self.hidden, self.left, self.done = random.Random(seed).randint(1, 100), 7, False
        self.found = False
        return "The number is from 1 to 100."

    def guess(self, number: int) -> str:
        """Guess the number.

        Args:
            number: Your guess.
        """
        self.left -= 1
        self.found = number == self.hidden
        self.done = self.found or not self.left
        return "right" if self.found else "higher" if number < self.hidden else "lower"

    def get_reward(self) -> float:
        """1 if the number was found, and a little more for each guess that is left."""
        return 1.0 + 0.05 * self.left if self.found else 0.0


def task() -> aepo.Task:
    """Find the number; `seed` differs from question to question."""
    samples = [aepo.Sample("Find the hidden number.", id=f"number-{i}") for i in range(16)]
    world = aepo.environment(Guess, inline=True, sandboxed=True)
    return aepo.Task("guess", samples[1:], environment=world, held_out=samples[:1])
