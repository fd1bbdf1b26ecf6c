"""A model in bfloat16, whose logits lie as far apart as those of a real model, trains on trees as a run would start it.

There rounding alone moves the score of an unlikely token by tenths of nats, more than a wrong tree moves it elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

import aepo
from aepo import api, config
from aepo.engines.local.logprobs import ModelLogprobs
from aepo.engines.local.tree_check import TOLERANCE, tree_difference
from aepo.runs.metrics import read_metrics
from tests import tiny

UNLIKELY, FACTOR = -0.7, 8.0
"""Weights of the output layer below the first are those of unlikely tokens; the second makes their logits -50."""


def brief(sample: aepo.Sample, trajectory: aepo.Trajectory) -> float:
    """Fewer tokens are better, so that nearly every trajectory gets another reward."""
    return -sum(trajectory.loss_mask) / 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tiny.save_model(tmp_path_factory.mktemp("sharp") / "model", disturbance=0.1)
    model = AutoModelForCausalLM.from_pretrained(made)
    with torch.no_grad():
        weight = model.lm_head.weight
        weight[weight < UNLIKELY] *= FACTOR
    model.save_pretrained(made)
    return made


def test_it_trains_on_trees(folder: Path, tmp_path: Path) -> None:
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    rounded = tree_difference(ModelLogprobs(plain, len(tiny.tokenizer())))
    assert rounded > 100 * TOLERANCE, "what a check in bfloat16 would refuse"
    settings = tiny.settings(tmp_path / "run", folder, "model.dtype=bfloat16", "train.steps=2", "train.layout=tree")
    task = aepo.Task("letters", tiny.samples(4), [tiny.search], brief, system="")
    run = api.train_task(config.load(None, settings), task)
    rows = [row for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if "grad/norm" in row]
    assert len(rows) == 2
    for row in rows:
        assert row["train/sharing"] > 1 and row["grad/norm"] > 0
    # Before the first update only roundings are between the sampler and the trainer.
    assert 0 < rows[0]["logprobs/rollout_difference_mean"] < 0.2
    assert run.policy is not None and run.policy.model.dtype is torch.bfloat16
    trained = run.policy.model.state_dict()
    assert any(not torch.equal(trained[name], before) for name, before in plain.state_dict().items())
