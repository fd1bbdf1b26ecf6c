"""The curriculum asks for nothing that cannot be known."""

from __future__ import annotations

import torch

from aepo.warmstart.curriculum import copy_batches


def test_what_the_curriculum_trains_can_be_known_from_the_row() -> None:
    ids, mask = next(copy_batches(200, 6, 16, 48, torch.Generator().manual_seed(0)))
    assert mask.any()
    for row in range(16):
        for at in mask[row].nonzero()[:, 0].tolist():
            context = ids[row, at - 2 : at].tolist()
            earlier = [t for t in range(2, at) if ids[row, t - 2 : t].tolist() == context]
            assert any(ids[row, t] == ids[row, at] for t in earlier)
