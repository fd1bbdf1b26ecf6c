"""Makes the model `atlas`, from demonstrations in an imagined world of cities."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from aepo.tasks.atlas import atlas_search
from aepo.tasks.atlas.questions import ATTRIBUTES, questions
from aepo.tasks.atlas.world import World, world
from aepo.warmstart.atlas.demonstrations import Demonstrator, Faults
from aepo.warmstart.atlas.imagined import imagined_world
from aepo.warmstart.episode import Episode, episode_batches
from aepo.warmstart.tokenizer import train_tokenizer
from aepo.warmstart.train import Demonstrations, Recipe, train_model

TAGS = ("think", "search", "python", "result", "answer")
TOKENIZED = 5_000
"""Number of episodes that the tokenizer learns from."""


@dataclass(frozen=True)
class AtlasDemonstrations(Demonstrations):
    """The amount of training on demonstrations, and the number of imagined names and questions in them."""

    names: int = 40_000
    questions: int = 40_000


@dataclass(frozen=True)
class AtlasRecipe(Recipe):
    """All settings of the training run."""

    demonstrations: AtlasDemonstrations = AtlasDemonstrations()
    faults: Faults = field(default_factory=Faults)


def guesses(facts: World) -> dict[str, list[str]]:
    """Collect all values of each attribute that a country may have."""
    countries = facts.countries.values()
    columns = {
        "capital": [c.capital for c in countries],
        "currency": [c.currency for c in countries],
        "continent": [c.continent for c in countries],
        "phone code": [c.phone for c in countries],
        "neighbours": [n for c in countries for n in c.neighbours],
    }
    return {attribute: sorted({v for v in columns[attribute] if v}) for attribute in ATTRIBUTES}


def warmstart_atlas(out: Path, recipe: AtlasRecipe, report: Callable[[str], None]) -> None:
    """Make the tokenizer and the model, and save both to `out` with the recipe.

    Args:
        out: Folder of the result.
        recipe: All settings of the run.
        report: A function that takes lines about the progress.
    """
    facts = world()
    imagined = imagined_world(facts, recipe.demonstrations.names, recipe.seed)
    samples = questions(imagined, "train", recipe.demonstrations.questions, recipe.seed)
    rng = random.Random(recipe.seed)
    demonstrator = Demonstrator(atlas_search(imagined).function, guesses(facts), recipe.faults, rng)
    texts = [s.question for s in samples[:TOKENIZED]]
    for sample in samples[:TOKENIZED]:
        texts += [segment.text for segment in demonstrator.episode(sample)]
    tokenizer = train_tokenizer(texts, TAGS, recipe.vocab_size)

    def draw() -> Episode:
        sample = rng.choice(samples)
        return Episode(sample.question, demonstrator.episode(sample))

    batches = episode_batches(tokenizer, draw, recipe.demonstrations.rows, rng)
    train_model(out, tokenizer, batches, recipe, report)
