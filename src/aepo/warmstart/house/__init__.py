"""Makes the model `house`, from demonstrations in houses of the training split."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from aepo.tasks.house.questions import question, seeds
from aepo.warmstart.episode import Episode, episode_batches
from aepo.warmstart.house.demonstrations import HousePlayer, PlayerFaults
from aepo.warmstart.tokenizer import train_tokenizer
from aepo.warmstart.train import Copies, Demonstrations, Recipe, train_model

TAGS = ("think", "go", "take", "open", "result", "answer")
TOKENIZED = 2_000
"""Number of episodes that the tokenizer learns from."""


@dataclass(frozen=True)
class HouseRecipe(Recipe):
    """All settings of the training run.

    Attributes:
        calls: Most calls of a demonstration.
        houses: Number of houses in the demonstrations.
        faults: The probabilities of mistakes.
    """

    vocab_size: int = 448
    copies: Copies = field(default_factory=lambda: Copies(steps=0))
    demonstrations: Demonstrations = field(default_factory=lambda: Demonstrations(steps=900, more=500, rows=24))
    calls: int = 16
    houses: int = 100_000
    faults: PlayerFaults = field(default_factory=PlayerFaults)


def warmstart_house(out: Path, recipe: HouseRecipe, report: Callable[[str], None]) -> None:
    """Make the tokenizer and the model, and save both to `out` with the recipe.

    Args:
        out: Folder of the result.
        recipe: All settings of the run.
        report: A function that takes lines about the progress.
    """
    houses = seeds("train", recipe.houses, recipe.seed)
    rng = random.Random(recipe.seed)
    demonstrator = HousePlayer(recipe.faults, rng, recipe.calls)

    def draw() -> Episode:
        seed = rng.choice(houses)
        opening, segments = demonstrator.episode(seed)
        return Episode(f"{question(seed)}\n{opening}", segments)

    texts: list[str] = []
    for _ in range(TOKENIZED):
        episode = draw()
        texts += [episode.prompt, *(segment.text for segment in episode.segments)]
    tokenizer = train_tokenizer(texts, TAGS, recipe.vocab_size)
    batches = episode_batches(tokenizer, draw, recipe.demonstrations.rows, rng)
    train_model(out, tokenizer, batches, recipe, report)
