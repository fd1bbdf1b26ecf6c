"""A full memory is told with the settings to change."""

from __future__ import annotations

import pytest
import torch

from aepo.process.memory import OutOfMemory, memory_advice


def test_the_line_says_when_how_much_and_what_to_change() -> None:
    @memory_advice("training", "lower train.micro_batch_tokens")
    def train() -> None:
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.32 GiB. GPU 0 has a total capacity of ..."
        )

    line = "the device's memory is full while training (2.32 GiB more were wanted): lower train.micro_batch_tokens"
    with pytest.raises(OutOfMemory) as caught:
        train()
    assert str(caught.value) == line


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(KeyError), memory_advice("training", "lower it"):
        raise KeyError("x")
