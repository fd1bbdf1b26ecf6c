"""verl's rows get the advantages and the loss that the same trees have on one machine."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from aepo.algorithms import AEPO, ARPO, CISPO, DAPO, GPPO, GRPO, Algorithm, GiGPO, ReinforcePP
from aepo.config import Config
from aepo.core.aggregation import aggregate
from aepo.engines.verl import losses
from aepo.engines.verl.losses import advantages, policy_loss
from aepo.training.batch import Batch, flat_batch
from aepo.types import Group
from tests.training.test_batch import LIMIT, branched, short

ALGORITHMS: list[Algorithm] = [
    AEPO(),
    AEPO(entropy_scope="group", entropy_clip=False),
    ARPO(attribution="hard"),
    CISPO(),
    DAPO(),
    GPPO(),
    GRPO(),
    GiGPO(),
    ReinforcePP(),
]
NAMES = [f"{number}-{algorithm.name}" for number, algorithm in enumerate(ALGORITHMS)]


def without_prompts(groups: list[Group], batch: Batch, of: torch.Tensor, width: int) -> torch.Tensor:
    """Rows of the tokens after the prompt, padded to `width`."""
    prompts = [t.prompt_length for group in groups for t in group.trajectories()]
    rows = [of[i, p : int(batch.lengths_B[i])] for i, p in enumerate(prompts)]
    return torch.stack([torch.nn.functional.pad(row, (0, width - len(row))) for row in rows])


def rows_of(groups: list[Group], algorithm: Algorithm) -> tuple[Batch, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The local batch, and its entropies, mask and advantages as verl has rows."""
    batch = flat_batch(groups, algorithm, 0, LIMIT)
    width = max(len(t.tokens) - t.prompt_length for group in groups for t in group.trajectories())
    parts = (batch.entropies_BT, batch.loss_mask_BT, batch.advantages_BT)
    return batch, *(without_prompts(groups, batch, part, width) for part in parts)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=NAMES)
def test_rows_have_the_local_advantages_in_whatever_order_and_among_whatever_filling(algorithm: Algorithm):
    groups = [branched(), short()]
    _, entropy_BT, _, wanted_BT = rows_of(groups, algorithm)
    order = [4, 0, 6, 2, 3]
    scattered_BT = torch.full((7, entropy_BT.shape[1]), 123.0)
    scattered_BT[order] = entropy_BT
    stripped = deepcopy(groups)
    for group in stripped:
        for node in group.tree.nodes:
            node.entropies = [9.0 for _ in node.entropies]
    made_BT = advantages(stripped, [order[:3], order[3:]], scattered_BT, algorithm, LIMIT)
    torch.testing.assert_close(made_BT[order], wanted_BT, atol=1e-6, rtol=0)
    assert made_BT[[1, 5]].abs().sum() == 0


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=NAMES)
def test_micro_batches_on_two_ranks_add_up_to_the_local_loss(algorithm: Algorithm, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(losses, "run_config", lambda: Config(algorithm=algorithm))
    _, old_BT, mask_BT, advantages_BT = rows_of([branched(), short()], algorithm)
    torch.manual_seed(0)
    new_BT = (old_BT + 0.5 * torch.randn_like(old_BT)).requires_grad_()
    local = aggregate(algorithm.loss(new_BT, old_BT, advantages_BT), mask_BT, algorithm.aggregation)
    [wanted] = torch.autograd.grad(local, new_BT)

    whole = {"batch_num_tokens": int(mask_BT.sum()), "global_batch_size": len(mask_BT), "dp_size": 2}
    config: Any = SimpleNamespace(global_batch_info=whole)
    on_ranks = torch.zeros(())
    for rows in ([0], [1, 2], [3, 4]):
        part, told = policy_loss(
            old_BT[rows], new_BT[rows], advantages_BT[rows], mask_BT[rows].bool(), algorithm.aggregation, config
        )
        # verl averages over the ranks.
        on_ranks = on_ranks + part / 2
        assert set(told) == {"actor/clip_low_fraction", "actor/clip_high_fraction"}
    assert on_ranks.item() == pytest.approx(local.item(), abs=1e-6)
    [found] = torch.autograd.grad(on_ranks, new_BT)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)
