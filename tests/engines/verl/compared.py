"""What one machine makes of the trees that verl trained on: loss, gradient norm and advantages."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import torch

from aepo.algorithms import Algorithm
from aepo.config import TrainConfig
from aepo.engines.local.load import load_policy
from aepo.engines.local.policy import LocalPolicy
from aepo.training.batch import flat_batch
from aepo.training.step import Learner, update
from aepo.types import Group, Sample, TrajectoryTree


def trees(run: Path, step: int) -> list[Group]:
    """The groups of a step, as the run folder keeps them."""
    with gzip.open(run / "trees" / f"step-{step:06d}.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    return [Group(Sample(**row["sample"]), TrajectoryTree.from_dict(row["tree"])) for row in rows]


def local_step(model: Path, groups: list[Group], algorithm: Algorithm, max_tokens: int) -> dict[str, float]:
    """One optimizer step of the local engine: its metrics, and the largest and smallest advantage."""
    policy = LocalPolicy(load_policy(model, device="cpu"))
    batch = flat_batch(groups, algorithm, policy.tokenizer.pad_token_id, max_tokens)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=0.0)
    schedule: Any = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    settings = TrainConfig(minibatches=1, micro_batch_tokens=1024)
    found = update(Learner(policy, optimizer, schedule, algorithm, settings), batch, random.Random(0))
    trained = batch.advantages_BT[batch.loss_mask_BT != 0]
    return {**found, "advantages/max": float(trained.max()), "advantages/min": float(trained.min())}
