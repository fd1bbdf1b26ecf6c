"""Runs `aepo warmstart`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tyro.conf import Positional


def warmstart(
    out: Positional[Path], /, task: Literal["atlas", "house"] = "atlas", threads: int = 2, seed: int = 0
) -> None:
    """Make a small model of this package again, from scratch, on a CPU.

    Args:
        out: Folder of the model.
        task: The task that the model starts to know.
        threads: Number of CPU threads.
        seed: Seed of the weights and the demonstrations.
    """
    import torch

    torch.set_num_threads(threads)
    if task == "atlas":
        from aepo.warmstart.atlas import AtlasRecipe, warmstart_atlas

        warmstart_atlas(out, AtlasRecipe(seed=seed), _print)
    else:
        from aepo.warmstart.house import HouseRecipe, warmstart_house

        warmstart_house(out, HouseRecipe(seed=seed), _print)


def _print(line: str) -> None:
    print(line, flush=True)
