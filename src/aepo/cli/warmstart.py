"""Runs `aepo warmstart`."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional


def warmstart(out: Positional[Path], /, threads: int = 2, seed: int = 0) -> None:
    """Make the small model of this package again, from scratch, on a CPU.

    Args:
        out: Folder of the model.
        threads: Number of CPU threads.
        seed: Seed of the weights and the demonstrations.
    """
    import torch

    from aepo.tasks.atlas import atlas_search
    from aepo.tasks.atlas.world import world
    from aepo.warmstart.train import Recipe
    from aepo.warmstart.train import warmstart as make

    torch.set_num_threads(threads)
    make(out, world(), atlas_search, Recipe(seed=seed), lambda line: print(line, flush=True))
