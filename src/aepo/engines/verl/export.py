"""Converts a checkpoint of verl, with one weights file per rank, to a Hugging Face folder, without verl."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from aepo.files.instruction import read_instruction, write_instruction
from aepo.runs.checkpoint import verl_step
from aepo.runs.folder import RunFolder

if TYPE_CHECKING:
    from torch import Tensor


def newest(run: Path) -> Path:
    """The folder of a run's newest complete checkpoint.

    Raises:
        ValueError: There is none.
    """
    checkpoints = RunFolder(run).checkpoints
    if (step := verl_step(checkpoints)) is None:
        raise ValueError(f"run {run} has no whole checkpoint of engine verl")
    return checkpoints / f"global_step_{step}"


def export(run: Path, out: Path) -> Path:
    """Write the newest policy of a run as a folder that `transformers` and every engine here can load.

    Weights keep the precision that they were trained in. The instruction that the policy was trained under goes with
    them.

    Returns:
        The exported checkpoint.

    Raises:
        ValueError: There is no checkpoint, `out` is there already, or a file of the checkpoint is missing.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    checkpoint = newest(run)
    if out.exists():
        raise ValueError(f"{out} is there already: give a new folder")
    actor = checkpoint / "actor"
    weights = merged(actor)
    config = AutoConfig.from_pretrained(actor / "huggingface")
    models = cast(Any, AutoModelForCausalLM)
    model = models.from_config(config, dtype=next(iter(weights.values())).dtype)
    model.load_state_dict(weights)
    aside = out.with_name(f".tmp-{out.name}-{os.getpid()}")
    model.save_pretrained(aside)
    AutoTokenizer.from_pretrained(actor / "huggingface").save_pretrained(aside)
    write_instruction(aside, read_instruction(checkpoint))
    os.replace(aside, out)
    return checkpoint


def merged(actor: Path) -> dict[str, Tensor]:
    """The whole weights of verl's `actor` folder, on the CPU.

    Raises:
        ValueError: A file is missing.
    """
    import torch
    from torch.distributed.tensor import DTensor, Shard

    try:
        ranks = json.loads((actor / "fsdp_config.json").read_text(encoding="utf-8"))["world_size"]
        files = [actor / f"model_world_size_{ranks}_rank_{rank}.pt" for rank in range(ranks)]
        # The run wrote these files itself, so unpickling torch's shards is safe.
        shards: list[dict[str, Any]] = [torch.load(file, map_location="cpu", weights_only=False) for file in files]
    except OSError as error:
        raise ValueError(f"checkpoint {actor.parent} is not whole: {error.filename}: {error.strerror}") from error
    weights: dict[str, Tensor] = {}
    for name, first in shards[0].items():
        if not isinstance(first, DTensor):
            weights[name] = first
            continue
        # The last dimension of the mesh has the shards; earlier ones have copies.
        placement, count = first.placements[-1], first.device_mesh.shape[-1]
        parts = [shard[name].to_local() for shard in shards[:count]]
        weights[name] = torch.cat(parts, dim=placement.dim) if isinstance(placement, Shard) else parts[0]
    return weights
