"""How the in-process engine samples."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GeneratorSettings:
    """What a `LocalGenerator` is asked for.

    Attributes:
        temperature: T > 0.
        max_sequences: How many may be open at once.
        max_length: Tokens a sequence may hold.
        deterministic: Call the model only when all open sequences that were not ended are being sampled, with rows in
            the order of their noise keys: batches, hence roundings, then do not depend on who waited for what. Open
            all sequences that start together before sampling from the first.
        greedy: Take the likeliest token; log-probabilities and entropies stay those at T.
        reference_entropy: Record also -sum p ln p over the ten likeliest tokens.

    Raises:
        ValueError: The temperature is not above 0.
    """

    temperature: float = 1.0
    max_sequences: int = 128
    max_length: int = 1024
    deterministic: bool = False
    greedy: bool = False
    reference_entropy: bool = False

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(
                f"temperature is {self.temperature}, it must be above 0; greedy=True takes the likeliest token"
            )


USUAL = GeneratorSettings()
