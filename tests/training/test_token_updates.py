"""What an update did to each token is the same on the tree and flat, and comes back from the run's folder."""

import math
import random
from pathlib import Path

import anyio
import pytest
import torch

from aepo import api, config
from aepo.algorithms import AEPO
from aepo.assembly.parts import build
from aepo.config import TrainConfig
from aepo.rewards.score import score
from aepo.rollout.explorer import Seeds, explore
from aepo.runs.folder import RunFolder
from aepo.runs.trees import save_trees
from aepo.training.batch import flat_batch
from aepo.training.step import Learner, update
from aepo.training.token_updates import TokenUpdates, token_updates
from aepo.types import Kind
from aepo.viewer import read_trees
from tests import tiny


@pytest.fixture(scope="module")
def rollout(model_folder):
    task = tiny.letters(4)
    settings = config.load(None, tiny.settings(Path("unused"), model_folder))
    _, parts = build(settings, task)
    rules = settings.algorithm.exploration()

    async def sample():
        groups = await explore(task.samples, parts.agent, rules, rules.initial_state(parts.vocab_size), Seeds(0, 1))
        await score(groups, tiny.early)
        return groups

    return anyio.run(sample)


def updated(model_folder, groups, layout, micro_batch_tokens=10**6, minibatches=1):
    """What two passes with a large step between them did."""
    policy = api.load_policy(str(model_folder))
    algorithm = AEPO()
    batch = flat_batch(groups, algorithm, 0, 40)
    seen_BT = torch.full_like(batch.old_logprobs_BT, torch.nan)
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1.0)
    settings = TrainConfig(epochs=2, minibatches=minibatches, micro_batch_tokens=micro_batch_tokens, layout=layout)
    update(Learner(policy, optimizer, schedule, algorithm, settings), batch, random.Random(0), seen_BT)
    return batch, seen_BT, token_updates(groups, batch, seen_BT, algorithm)


def test_ratios_are_the_same_on_the_tree_and_flat_and_however_it_is_split(model_folder, rollout):
    _, whole, _ = updated(model_folder, rollout, "flat", minibatches=2)
    assert (whole.nan_to_num() != 0).any()
    for layout, tokens in (("tree", 10**6), ("tree", 60), ("flat", 60)):
        _, seen, _ = updated(model_folder, rollout, layout, tokens, minibatches=2)
        assert torch.allclose(seen, whole, atol=1e-3, equal_nan=True)


def test_every_token_of_a_busy_trajectory_has_its_ratio_and_advantage(model_folder, rollout):
    batch, _, found = updated(model_folder, rollout, "tree")
    row = 0
    moved = 0
    for group, one in zip(rollout, found, strict=True):
        assert [len(r) for r in one.ratios] == [len(n.tokens) * (n.kind is Kind.POLICY) for n in group.tree.nodes]
        for trajectory, advantages in zip(group.trajectories(), one.advantages, strict=True):
            expected = batch.advantages_BT[row][batch.loss_mask_BT[row] != 0].tolist()
            assert advantages == pytest.approx(expected, rel=1e-4)
            written = [n for n in trajectory.nodes if group.tree.nodes[n].kind is Kind.POLICY]
            ratios = [r for n in written for r in one.ratios[n]]
            assert len(ratios) == len(advantages)
            if any(advantages):
                assert all(r is not None and math.isfinite(r) for r in ratios)
                moved += sum(abs(r - 1) > 0.01 for r in ratios)
            row += 1
    assert moved > 0


def test_they_come_back_from_the_folder_and_what_was_not_trained_on_has_none(tmp_path, model_folder, rollout):
    _, _, found = updated(model_folder, rollout, "tree")
    path = save_trees(
        RunFolder(tmp_path),
        1,
        rollout,
        lambda ids: f"<{ids[0]}>" * len(ids),
        found[:2],
    )
    records = list(read_trees(path))
    assert all(r.update is None for r in records[2:])
    for record, group, made in zip(records[:2], rollout, found, strict=False):
        assert record.update == TokenUpdates.from_dict(made.to_dict(), group.tree)
        for kept, exact in zip(record.update.ratios, made.ratios, strict=True):
            assert [r for r in kept if r is not None] == pytest.approx([r for r in exact if r is not None], rel=1e-4)
