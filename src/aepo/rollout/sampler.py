"""The part of a run that samples. It may be the trained model itself, or have a copy of its weights.

A run does this, step after step:

    sampler.push(0)                  hand over the weights after 0 steps
    ... a rollout over sampler.generator(...) ...
    sampler.free()                   the trainer may need the memory
    ... an update of the policy ...
    sampler.push(1)
"""

from __future__ import annotations

from typing import Protocol

from aepo.rollout.generator import Generator, GeneratorSettings


class Sampler(Protocol):
    """Gives engines that sample with the weights that were last handed over.

    Attributes:
        alongside: Whether it can sample while the trainer works.
        version: The version of its weights, the number of training steps that made them; -1 before the first `push`.
    """

    alongside: bool
    version: int

    def generator(self, settings: GeneratorSettings) -> Generator:
        """An engine, to be entered for each rollout; its tokens carry the version of the weights.

        Raises:
            ValueError: It does not support these settings.
        """
        ...

    def push(self, version: int) -> dict[str, float]:
        """Take the policy's current weights; after the return, all sampling uses them.

        An open engine is paused meanwhile (`Generator.pause`).

        Args:
            version: The number of training steps that made them.

        Returns:
            The metrics of the hand-over, by name; may be empty.

        Raises:
            RuntimeError: The weights did not arrive; the run ends with a checkpoint.
        """
        ...

    def revive(self) -> bool:
        """Start the sampler again, once, if it has died; then it has no weights before the next `push`.

        Returns:
            Whether it died and can be used again.

        Raises:
            RuntimeError: It died and does not start again.
        """
        ...

    def free(self) -> None:
        """Free memory if possible; nothing is sampled until the next `push`."""
        ...
