"""Whether trainer and server fit, worked by hand in GiB; CUDA takes one in each process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from aepo.doctor.fit import Need, misfit

GIB = 1 << 30


def need(**changes: Any) -> Need:
    """One card of 24 GiB: 10 held, 5 for a pass, and half of it for a server with weights of 4 and a cache of 0.5."""
    common: dict[str, Any] = {"trainer_gpu": 24, "server_gpu": 24, "held": 10, "working": 5, "weights": 4}
    common = {
        name: value * GIB for name, value in (common | {"trajectory": 0.5} | changes).items() if name not in PLAIN
    }
    plain = {"shared": True, "sleeps": True, "share": 0.5} | {n: v for n, v in changes.items() if n in PLAIN}
    return Need(**{name: int(value) for name, value in common.items()}, **plain)


PLAIN = ("shared", "sleeps", "share", "adapters")


def test_asleep_the_server_takes_nothing_of_the_trainers_pass():
    fits = need()
    assert misfit(fits) is None
    assert fits.taken == 12 * GIB and fits.trajectories == (12 - 4 - 1) * 2
    assert fits.in_rollout == (10 + 1 + 12) * GIB
    assert fits.in_training == (10 + 5 + 1 + 1) * GIB, "what CUDA takes stays"
    awake = replace(fits, sleeps=False)
    assert awake.in_training == (10 + 5 + 1 + 12) * GIB
    assert misfit(awake) is not None


def test_on_a_gpu_of_its_own_the_server_takes_nothing_of_the_trainers():
    alone = need(shared=False, sleeps=False, share=0.9)
    assert misfit(alone) is None
    assert (alone.in_rollout, alone.in_training) == (11 * GIB, 16 * GIB) and alone.most == 0.9


@pytest.mark.parametrize(
    ("changes", "told", "ways"),
    [
        (
            {"working": 13},
            "the trainer needs 25.0 GiB, and its GPU has 24.0 GiB",
            "lower train.micro_batch_tokens and rollout.max_tokens, set model.gradient_checkpointing: true, or set "
            "model.lora",
        ),
        (
            {"share": 0.6},
            "vLLM and the trainer need together 25.4 GiB, and their GPU has 24.0 GiB",
            "set vllm.gpu_memory_utilization to at most 0.50, set model.lora, or give vLLM a GPU of its own "
            "(vllm.devices)",
        ),
        (
            {"sleeps": False},
            "vLLM and the trainer need together 28.0 GiB, and their GPU has 24.0 GiB",
            "set vllm.gpu_memory_utilization to at most 0.30, set vllm.enable_sleep_mode: true, set model.lora, "
            "or give vLLM a GPU of its own (vllm.devices)",
        ),
        (
            {"share": 0.2},
            "vLLM needs, for its weights and the cache of one trajectory, 5.5 GiB, and the share 0.20 of its GPU has "
            "4.8 GiB",
            "raise vllm.gpu_memory_utilization to at most 0.50, or lower rollout.max_tokens",
        ),
        (
            {"held": 18, "working": 1, "share": 0.2, "adapters": True},
            "vLLM needs, for its weights and the cache of one trajectory, 5.5 GiB, and the share 0.20 of its GPU has "
            "4.8 GiB",
            "lower rollout.max_tokens, or give vLLM a GPU of its own (vllm.devices)",
        ),
        (
            {"shared": False, "sleeps": False, "share": 0.9, "weights": 30},
            "vLLM needs, for its weights and the cache of one trajectory, 31.5 GiB, and the share 0.90 of its GPU has "
            "21.6 GiB",
            "lower rollout.max_tokens, or raise vllm.tensor_parallel_size",
        ),
    ],
)
def test_what_does_not_fit_names_the_settings_to_change(changes: dict[str, Any], told: str, ways: str):
    found = misfit(need(**changes))
    assert found is not None
    assert found[0] == told
    assert found[1] == ways


def test_the_largest_share_that_is_advised_fits():
    for sleeps in (True, False):
        one = need(sleeps=sleeps)
        assert misfit(replace(one, share=one.most)) is None
        assert misfit(replace(one, share=one.most + 0.05)) is not None
