"""Who samples for a run: not who trains, though both may be one model in one process.

A run does this, step after step:

    sampler.push(0)                  before something is sampled: the weights as they are after 0 steps
    ... a rollout over sampler.generator(...) ...
    sampler.free()                   the trainer may need the memory
    ... an update of the policy ...
    sampler.push(1)
"""

from __future__ import annotations

from typing import Protocol

from aepo.rollout.generator import Generator


class Sampler(Protocol):
    """Gives engines over a policy's weights, as far as they were handed over to it.

    Attributes:
        version: Of the weights that it samples with: the training steps that made them; -1 before the first `push`.
    """

    version: int

    def generator(
        self,
        *,
        temperature: float,
        max_sequences: int,
        max_length: int,
        deterministic: bool = False,
        greedy: bool = False,
        reference_entropy: bool = False,
    ) -> Generator:
        """An engine, to be entered for each rollout; what it samples carries the version of its weights.

        Args:
            temperature: At which it samples, and of the log-probabilities and entropies.
            max_sequences: How many may be open at once.
            max_length: Tokens a sequence may hold.
            deterministic: Batches do not depend on who waited for what.
            greedy: Take the likeliest token.
            reference_entropy: Record the ten likeliest terms of the entropy, see `Sampled.reference_entropies`.

        Raises:
            ValueError: It cannot do that.
        """
        ...

    def push(self, version: int) -> dict[str, float]:
        """Take the policy's weights as they are now; when it returns, whatever is sampled is sampled with them.

        An engine that is open is paused meanwhile (`Generator.pause`).

        Args:
            version: What to call them.

        Returns:
            Metrics of the hand-over, by path; empty where there is nothing to tell.

        Raises:
            RuntimeError: They did not arrive; the run ends, with a checkpoint.
        """
        ...

    def free(self) -> None:
        """Nothing is sampled until the next `push`: memory may be given back."""
        ...
